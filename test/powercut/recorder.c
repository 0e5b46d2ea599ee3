/*
 * A library for LD_PRELOAD that writes down, in order and with the bytes, everything a process and its
 * children do to files under one directory that a power cut could undo: the tape of tape.ts. Test only.
 *
 *   TAPE_ROOT   record only paths under this directory (it ends in a slash)
 *   TAPE        the tape; a record is appended when its call has returned
 *   TAPE_LOCK   a file of 8 zero bytes, shared by all processes: one recorded call at a time
 *
 * A record, in the machine's byte order:
 *   u32 kind, tid   u64 inode   i64 at, size, mtime (ns)   u32 name, other, data   and these bytes
 *   at: where a write goes, or the size of a truncation; size, mtime: of the file, afterwards
 *
 * A sync is two records, its beginning and its end: what was written in between may be on stable storage
 * or not. It is not carried out, which is all the same to a tape and much faster. SQLite's
 * shared memory (`-shm`) never counts after a power cut and is left out.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NAME_SIZE 4096
enum { CREATE = 1, WRITE, TRUNCATE, RENAME, UNLINK, SYNC_BEGIN, SYNC_END, UTIMENS };

struct record {
  uint32_t kind, tid;
  uint64_t inode;
  int64_t at, size, mtime;
  uint32_t name, other, data, unused;
};

static const char *root;
static int tape = -1;
static _Atomic uint64_t *lock;

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("TAPE"), *shared = getenv("TAPE_LOCK");
  root = getenv("TAPE_ROOT");
  if (!root || !path || !shared) {
    root = NULL;
    return;
  }
  tape = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  int fd = syscall(SYS_openat, AT_FDCWD, shared, O_RDWR | O_CLOEXEC, 0);
  lock = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (tape < 0 || lock == MAP_FAILED) abort();
}

static void take(void) {
  for (uint64_t free = 0; !atomic_compare_exchange_weak(lock, &free, 1); free = 0) sched_yield();
}
static void leave(void) { atomic_store(lock, 0); }

static int is_ours(const char *path) {
  if (!root || !path || strncmp(path, root, strlen(root)) != 0) return 0;
  size_t n = strlen(path);
  return n < 4 || strcmp(path + n - 4, "-shm") != 0;
}

/* The path of an open descriptor, if it is one of ours. */
static const char *path_of(int fd, char into[NAME_SIZE]) {
  char link[40];
  if (!root || fd < 0) return NULL;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long n = syscall(SYS_readlink, link, into, NAME_SIZE - 1);
  if (n < 0) return NULL;
  into[n] = 0;
  return is_ours(into) ? into : NULL;
}

static const char *below(const char *path) { return path + strlen(root); }

/* Called with the lock held. */
static void append(int kind, int fd, const char *name, const char *other, int64_t at,
                   const struct iovec *data, int parts, size_t length) {
  struct record r = {kind, syscall(SYS_gettid), 0, at, 0, 0, 0, 0, length, 0};
  struct stat s;
  if (fd >= 0 && fstat(fd, &s) == 0) {
    r.inode = s.st_ino;
    r.size = s.st_size;
    r.mtime = s.st_mtim.tv_sec * 1000000000ll + s.st_mtim.tv_nsec;
  }
  r.name = name ? strlen(name) : 0;
  r.other = other ? strlen(other) : 0;
  struct iovec v[3 + parts];
  v[0] = (struct iovec){&r, sizeof r};
  v[1] = (struct iovec){(void *)name, r.name};
  v[2] = (struct iovec){(void *)other, r.other};
  size_t left = length;
  int n = 3;
  for (int i = 0; i < parts && left > 0; i++, n++) {
    v[n] = data[i];
    if (v[n].iov_len > left) v[n].iov_len = left;
    left -= v[n].iov_len;
  }
  size_t whole = 0;
  for (int i = 0; i < n; i++) whole += v[i].iov_len;
  if (syscall(SYS_writev, tape, v, n) != (long)whole) abort();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Makes a call with the lock held and records it if it succeeds. */
#define RECORDED(type, call, ...)                                                                  \
  take();                                                                                          \
  type result = call;                                                                              \
  int error = errno;                                                                               \
  if (result >= 0) append(__VA_ARGS__);                                                            \
  leave();                                                                                         \
  errno = error;                                                                                   \
  return result

#define ON_FD(fd, otherwise)                                                                       \
  char path[NAME_SIZE];                                                                            \
  if (!path_of(fd, path)) return otherwise

#define WRITES(type, symbol)                                                                       \
  ssize_t symbol(int fd, const void *buf, size_t n, type at) {                                     \
    ON_FD(fd, REAL(symbol)(fd, buf, n, at));                                                       \
    struct iovec v = {(void *)buf, n};                                                             \
    RECORDED(ssize_t, REAL(symbol)(fd, buf, n, at), WRITE, fd, below(path), NULL, at, &v, 1,       \
             result);                                                                              \
  }
WRITES(off_t, pwrite)
WRITES(off64_t, pwrite64)

#define WRITES_VECTOR(type, symbol)                                                                \
  ssize_t symbol(int fd, const struct iovec *v, int n, type at) {                                  \
    ON_FD(fd, REAL(symbol)(fd, v, n, at));                                                         \
    RECORDED(ssize_t, REAL(symbol)(fd, v, n, at), WRITE, fd, below(path), NULL, at, v, n, result); \
  }
WRITES_VECTOR(off_t, pwritev)
WRITES_VECTOR(off64_t, pwritev64)

ssize_t write(int fd, const void *buf, size_t n) {
  ON_FD(fd, syscall(SYS_write, fd, buf, n));
  struct iovec v = {(void *)buf, n};
  int64_t at = fcntl(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
  RECORDED(ssize_t, syscall(SYS_write, fd, buf, n), WRITE, fd, below(path), NULL, at, &v, 1, result);
}

#define TRUNCATES(type, symbol)                                                                    \
  int symbol(int fd, type size) {                                                                  \
    ON_FD(fd, REAL(symbol)(fd, size));                                                             \
    RECORDED(int, REAL(symbol)(fd, size), TRUNCATE, fd, below(path), NULL, size, NULL, 0, 0);      \
  }
TRUNCATES(off_t, ftruncate)
TRUNCATES(off64_t, ftruncate64)

static int syncs(int fd, const char *path, int64_t with_times) {
  take();
  append(SYNC_BEGIN, fd, below(path), NULL, with_times, NULL, 0, 0);
  leave();
  sched_yield();
  take();
  append(SYNC_END, fd, below(path), NULL, with_times, NULL, 0, 0);
  leave();
  return 0;
}

int fsync(int fd) {
  ON_FD(fd, REAL(fsync)(fd));
  return syncs(fd, path, 1);
}
int fdatasync(int fd) {
  ON_FD(fd, REAL(fdatasync)(fd));
  return syncs(fd, path, 0);
}

int futimens(int fd, const struct timespec times[2]) {
  ON_FD(fd, REAL(futimens)(fd, times));
  RECORDED(int, REAL(futimens)(fd, times), UTIMENS, fd, below(path), NULL, 0, NULL, 0, 0);
}

int utimensat(int dir, const char *path, const struct timespec times[2], int flags) {
  if (!is_ours(path)) return REAL(utimensat)(dir, path, times, flags);
  int fd = syscall(SYS_openat, dir, path, O_PATH | O_CLOEXEC, 0);
  take();
  int result = REAL(utimensat)(dir, path, times, flags);
  int error = errno;
  if (result >= 0) append(UTIMENS, fd, below(path), NULL, 0, NULL, 0, 0);
  leave();
  syscall(SYS_close, fd); /* of a path only: no lock is dropped by that */
  errno = error;
  return result;
}

static int opens(int dir, const char *path, int flags, int mode) {
  if (!is_ours(path) || !(flags & (O_CREAT | O_TRUNC)))
    return syscall(SYS_openat, dir, path, flags, mode);
  take();
  int existed = syscall(SYS_faccessat, dir, path, F_OK) == 0;
  int fd = syscall(SYS_openat, dir, path, flags, mode);
  int error = errno;
  if (fd >= 0 && !existed) append(CREATE, fd, below(path), NULL, 0, NULL, 0, 0);
  else if (fd >= 0 && flags & O_TRUNC) append(TRUNCATE, fd, below(path), NULL, 0, NULL, 0, 0);
  leave();
  errno = error;
  return fd;
}

#define OPENS(symbol, extra)                                                                       \
  int symbol(const char *path, int flags, ...) {                                                   \
    va_list arguments;                                                                             \
    va_start(arguments, flags);                                                                    \
    int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, int) : 0;                       \
    va_end(arguments);                                                                             \
    return opens(AT_FDCWD, path, flags | extra, mode);                                             \
  }
OPENS(open, 0)
OPENS(open64, O_LARGEFILE)

#define OPENS_AT(symbol, extra)                                                                    \
  int symbol(int dir, const char *path, int flags, ...) {                                          \
    va_list arguments;                                                                             \
    va_start(arguments, flags);                                                                    \
    int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, int) : 0;                       \
    va_end(arguments);                                                                             \
    return opens(dir, path, flags | extra, mode);                                                  \
  }
OPENS_AT(openat, 0)
OPENS_AT(openat64, O_LARGEFILE)

int rename(const char *from, const char *to) {
  if (!is_ours(to)) return REAL(rename)(from, to);
  RECORDED(int, REAL(rename)(from, to), RENAME, -1, below(to), below(from), 0, NULL, 0, 0);
}

int unlink(const char *path) {
  if (!is_ours(path)) return REAL(unlink)(path);
  RECORDED(int, REAL(unlink)(path), UNLINK, -1, below(path), NULL, 0, NULL, 0, 0);
}
int unlinkat(int dir, const char *path, int flags) {
  if (!is_ours(path)) return REAL(unlinkat)(dir, path, flags);
  RECORDED(int, REAL(unlinkat)(dir, path, flags), UNLINK, -1, below(path), NULL, 0, NULL, 0, 0);
}
int remove(const char *path) {
  if (!is_ours(path)) return REAL(remove)(path);
  RECORDED(int, REAL(remove)(path), UNLINK, -1, below(path), NULL, 0, NULL, 0, 0);
}
