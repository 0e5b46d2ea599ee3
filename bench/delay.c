/*
 * A library for LD_PRELOAD that gives directories disks of their own: a sync of a file under one
 * takes as long as the environment says, and syncs under one directory wait for each other, as they
 * do on one disk; those under different directories do not.
 *
 *   DELAY_SYNC   /directory=MICROSECONDS,/other=MICROSECONDS
 *
 * The real sync is not made: it would go to the one disk that both directories are on, and there
 * the two would wait for each other after all. So this is for measuring only; nothing is durable.
 * What a write costs stays as it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DISKS_MAX 16

static struct disk {
  char *directory;
  size_t length;
  long micros;
  pthread_mutex_t busy;
} disks[DISKS_MAX];
static int count;

static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void start(void) {
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  char *list = getenv("DELAY_SYNC"), *rest, *equals;
  if (!list) return;
  for (char *one = strtok_r(strdup(list), ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
    if (count == DISKS_MAX || !(equals = strrchr(one, '='))) {
      fprintf(stderr, "delay.c: DELAY_SYNC is not as it should be: %s\n", one);
      abort();
    }
    *equals = 0;
    struct disk *disk = &disks[count++];
    disk->directory = one;
    disk->length = strlen(one);
    disk->micros = atol(equals + 1);
    pthread_mutex_init(&disk->busy, NULL);
  }
}

static struct disk *disk_of(int fd) {
  char link[40], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return NULL;
  path[n] = 0;
  for (struct disk *disk = disks; disk < disks + count; disk++) {
    char after = strncmp(path, disk->directory, disk->length) == 0 ? path[disk->length] : 'x';
    if (after == '/' || after == 0) return disk;
  }
  return NULL;
}

static int synced(int fd, int (*real)(int)) {
  struct disk *disk = disk_of(fd);
  if (!disk) return real(fd);
  struct timespec left = {disk->micros / 1000000, disk->micros % 1000000 * 1000};
  pthread_mutex_lock(&disk->busy);
  while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
  }
  pthread_mutex_unlock(&disk->busy);
  return 0;
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }
