/*
 * The floor under a commit that is on every copy: what the machine itself needs to bring the same
 * bytes to stable storage in N files at once, with no database at all.
 *
 *   limit DIRECTORY... --bytes N --commits N
 *
 * One file a directory, preallocated with zeros and synced, so that no sync has to change a size or
 * allocate a block; a thread a file. A commit is a pwrite and a fdatasync of the same bytes by all
 * threads at once; the next begins when all are done. The threads wake each other in the fastest way
 * there is: they look at a shared word for some microseconds, then sleep in a futex.
 *
 * Prints {"p50", "p90", "p99", "p99.9", "p99.99", "max"} in microseconds and {"perSecond"}. A quarter
 * of the commits come before the measuring begins.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 16
#define LOOKS 2000
#define FILE_BYTES (8l << 20)

static long bytes, commits, size;
static int files;
static int descriptors[FILES_MAX];
static _Atomic uint32_t turn;    /* the number of the commit that is being made */
static _Atomic uint32_t pending; /* threads that have not finished it */

static void fail(const char *what) {
  fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Returns when the word is no longer `old`, with what it is. */
static uint32_t changed(_Atomic uint32_t *word, uint32_t old) {
  uint32_t value;
  for (int i = 0; i < LOOKS; i++)
    if ((value = atomic_load(word)) != old) return value;
  while ((value = atomic_load(word)) == old)
    if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0) && errno != EAGAIN &&
        errno != EINTR)
      fail("futex");
  return value;
}

static void wake(_Atomic uint32_t *word) {
  if (syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, FILES_MAX, NULL, NULL, 0) < 0) fail("futex");
}

static void write_and_sync(int file, char *buffer, uint32_t number) {
  long places = size / bytes;
  memcpy(buffer, &number, sizeof number);
  if (pwrite(descriptors[file], buffer, bytes, number % places * bytes) != bytes) fail("pwrite");
  if (fdatasync(descriptors[file])) fail("fdatasync");
}

static char *new_buffer(void) {
  char *buffer = malloc(bytes);
  if (!buffer) fail("malloc");
  memset(buffer, 7, bytes);
  return buffer;
}

static void *helper(void *file) {
  char *buffer = new_buffer();
  for (uint32_t seen = 0;;) {
    seen = changed(&turn, seen);
    write_and_sync((int)(intptr_t)file, buffer, seen);
    if (atomic_fetch_sub(&pending, 1) == 1) wake(&pending);
  }
  return NULL;
}

static int preallocated(const char *directory) {
  char path[4096], *zeros = calloc(1, 1 << 20);
  snprintf(path, sizeof path, "%s/limit", directory);
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) fail(path);
  for (long at = 0; at < size; at += 1 << 20)
    if (pwrite(fd, zeros, 1 << 20, at) != 1 << 20) fail("pwrite");
  if (fsync(fd)) fail("fsync");
  free(zeros);
  return fd;
}

static int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  char *directories[FILES_MAX];
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--bytes") == 0 && i + 1 < argc) bytes = atol(argv[++i]);
    else if (strcmp(argv[i], "--commits") == 0 && i + 1 < argc) commits = atol(argv[++i]);
    else if (files < FILES_MAX) directories[files++] = argv[i];
  }
  if (files == 0 || bytes < 4 || commits < 4) {
    fprintf(stderr, "Usage: limit DIRECTORY... --bytes N --commits N\n");
    return 2;
  }
  size = FILE_BYTES > 2 * bytes ? FILE_BYTES : 2 * bytes;
  size = (size + (1 << 20) - 1) >> 20 << 20;
  for (int i = 0; i < files; i++) descriptors[i] = preallocated(directories[i]);
  for (intptr_t i = 1; i < files; i++) {
    pthread_t thread;
    if ((errno = pthread_create(&thread, NULL, helper, (void *)i))) fail("pthread_create");
  }

  const char *names[] = {"50", "90", "99", "99.9", "99.99"};
  const double shares[] = {.5, .9, .99, .999, .9999};
  long warm_up = commits / 4;
  uint64_t *took = malloc(commits * sizeof *took), began = 0;
  char *buffer = new_buffer();
  if (!took) fail("malloc");
  for (long i = -warm_up; i < commits; i++) {
    uint64_t before = now();
    if (i == 0) began = before;
    atomic_store(&pending, files - 1);
    atomic_fetch_add(&turn, 1);
    if (files > 1) wake(&turn);
    write_and_sync(0, buffer, atomic_load(&turn));
    for (uint32_t left = atomic_load(&pending); left > 0;) left = changed(&pending, left);
    if (i >= 0) took[i] = now() - before;
  }
  double seconds = (now() - began) / 1e9;
  qsort(took, commits, sizeof *took, ascending);
  printf("{");
  for (int i = 0; i < 5; i++)
    printf("\"p%s\": %.1f, ", names[i], took[(long)(commits * shares[i])] / 1e3);
  printf("\"max\": %.1f, \"perSecond\": %.1f}\n", took[commits - 1] / 1e3, commits / seconds);
  return 0;
}
