/*
 * A wall clock that jumps, for the process that this is preloaded into: what is added to it stands, in
 * seconds, in the file that CLOCK_OFFSET names, eight bytes in the machine's order. Other clocks, and
 * the times that the kernel gives to files, stay as they are.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void start(void) {
  const char *name = getenv("CLOCK_OFFSET");
  int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  void *map = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
  if (map != MAP_FAILED) offset = map;
}

static int64_t added(void) { return offset ? *offset : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*next)(clockid_t, struct timespec *);
  if (!next) next = dlsym(RTLD_NEXT, "clock_gettime");
  int result = next(clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += added();
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  static int (*next)(struct timeval *, void *);
  if (!next) next = dlsym(RTLD_NEXT, "gettimeofday");
  int result = next(now, zone);
  if (result == 0) now->tv_sec += added();
  return result;
}

time_t time(time_t *into) {
  static time_t (*next)(time_t *);
  if (!next) next = dlsym(RTLD_NEXT, "time");
  time_t now = next(NULL) + added();
  if (into) *into = now;
  return now;
}
