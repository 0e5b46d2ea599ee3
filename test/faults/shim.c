/*
 * A library for LD_PRELOAD that stands between a process and the C library: it records what the
 * process does to files under one directory, and makes calls fail, wait or kill the process when
 * told to. Test only; see shim.ts for the other side.
 *
 *   FAULTS_ROOT      record and fault only paths under this directory; those under its `process/`,
 *                    where a test process leaves its marks, are recorded and never fail
 *   FAULTS_LOG       a line is appended for every call, when it has returned:
 *                      begin end pid tid call path detail result error
 *                    separated by tabs; begin and end are nanoseconds of the monotonic clock, so
 *                    that one call came before another if and only if its end is before that begin
 *   FAULTS_CONTROL   rules, one a line, read anew at every call, so that they may change meanwhile:
 *                      call suffix first times action argument
 *                    call     open read write truncate rename unlink sync utimens lock unlock statfs,
 *                             or * for all but open, read, lock, unlock and statfs
 *                    suffix   how the path ends (of a rename: the new name's), with * and ? as a
 *                             shell has them; if it ends in a slash, that directory and all below
 *                    first, times   from the first-th matching call on, so many of them; with 0
 *                             from when the first rule has acted
 *                    action   error NAME | short BYTES | delay MS | flip | vanish | hang | kill | killgroup
 *   FAULTS_COUNTERS  64 counters of matching calls, one a rule, shared by all processes
 *
 * `short` writes no more than so many bytes and reports that; `flip` reads one bit wrong; `vanish` takes the disk away before the call is
 * made: the directory just below the root is renamed to NAME-gone, and an empty one takes its place, as where a file system
 * was unmounted; `hang` waits until the rules change; `kill` kills the process before the call is made, `killgroup` all of
 * its group.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define RULES_MAX 64
#define NAME_SIZE 4096

enum { READ, WRITE, OPEN, TRUNCATE, RENAME, UNLINK, SYNC, UTIMENS, LOCK, UNLOCK, STATFS };
static const char *const names[] = {"read",   "write", "open",    "truncate", "rename",
                                    "unlink", "sync",  "utimens", "lock",     "unlock",
                                    "statfs"};

static const char *root, *control;
static int log_fd = -1;
static _Atomic uint64_t *counters;

__attribute__((constructor)) static void start(void) {
  root = getenv("FAULTS_ROOT");
  control = getenv("FAULTS_CONTROL");
  const char *log = getenv("FAULTS_LOG"), *counts = getenv("FAULTS_COUNTERS");
  if (!root || !control || !log || !counts) {
    root = NULL;
    return;
  }
  log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  int fd = syscall(SYS_openat, AT_FDCWD, counts, O_RDWR | O_CLOEXEC, 0);
  counters = mmap(NULL, RULES_MAX * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (log_fd < 0 || counters == MAP_FAILED) abort();
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void pause_ms(long ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&t, NULL);
}

static int under_root(const char *path) {
  return root && path && strncmp(path, root, strlen(root)) == 0;
}

/* The path of an open descriptor, as the kernel has it now; "" if it is none of ours. */
static const char *path_of(int fd, char into[NAME_SIZE]) {
  char link[40];
  into[0] = 0;
  if (!root || fd < 0) return into;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long n = syscall(SYS_readlink, link, into, NAME_SIZE - 1);
  into[n < 0 ? 0 : n] = 0;
  if (!under_root(into)) into[0] = 0;
  return into;
}

static const struct {
  const char *name;
  int error;
} errors[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"ESTALE", ESTALE},
              {"EROFS", EROFS},   {"EACCES", EACCES}, {"ENODEV", ENODEV}, {"EPERM", EPERM},
              {"ENOENT", ENOENT}, {"EEXIST", EEXIST}, {"EAGAIN", EAGAIN}};
#define ERRORS (sizeof errors / sizeof *errors)

static int error_named(const char *name) {
  for (size_t i = 0; i < ERRORS; i++)
    if (strcmp(errors[i].name, name) == 0) return errors[i].error;
  return EINVAL;
}

static const char *name_of(int error) {
  for (size_t i = 0; i < ERRORS; i++)
    if (errors[i].error == error) return errors[i].name;
  return "other";
}

static int matches(const char *path, const char *suffix) {
  size_t m = strlen(suffix);
  char text[NAME_SIZE + 1];
  if (m > 0 && suffix[m - 1] == '/') {
    snprintf(text, sizeof text, "%s/", path);
    return strstr(text, suffix) != NULL;
  }
  snprintf(text, sizeof text, "*%s", suffix);
  return fnmatch(text, path, 0) == 0;
}

/* The disk that holds the path is gone; where it was mounted is an empty directory. */
static void vanish(const char *path) {
  char disk[NAME_SIZE], gone[NAME_SIZE + 8];
  size_t n = strlen(root) + strcspn(path + strlen(root), "/");
  snprintf(disk, sizeof disk, "%.*s", (int)n, path);
  snprintf(gone, sizeof gone, "%s-gone", disk);
  syscall(SYS_renameat2, AT_FDCWD, disk, AT_FDCWD, gone, 0);
  syscall(SYS_mkdirat, AT_FDCWD, disk, 0755);
}

static int read_rules(char text[NAME_SIZE]) {
  int fd = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
  long n = fd < 0 ? 0 : syscall(SYS_read, fd, text, NAME_SIZE - 1);
  if (fd >= 0) syscall(SYS_close, fd);
  text[n < 0 ? 0 : n] = 0;
  return n > 0;
}

static void wait_for_other_rules(const char *before) {
  char text[NAME_SIZE];
  do pause_ms(10);
  while (read_rules(text) && strcmp(text, before) == 0);
}

struct call {
  int kind;
  const char *path, *detail;
  uint64_t begin;
  int error;   /* injected, or 0 */
  long length; /* of a short write, or -1 */
  int flip;
};

static void record(struct call *c, long result, int error) {
  char line[2 * NAME_SIZE];
  int n = snprintf(line, sizeof line, "%llu\t%llu\t%d\t%ld\t%s\t%s\t%s\t%ld\t%s\n",
                   (unsigned long long)c->begin, (unsigned long long)now(), getpid(),
                   syscall(SYS_gettid), names[c->kind], c->path, c->detail, result,
                   result < 0 ? name_of(error) : "");
  syscall(SYS_write, log_fd, line, n);
}

/* Applies the rules: waits and dies here, or says how the call is to fail. */
static struct call enter(int kind, const char *path, const char *detail) {
  struct call c = {kind, path, detail, 0, 0, -1, 0};
  char text[NAME_SIZE], *save, *line;
  if (strncmp(path + strlen(root), "process", 7) != 0 && read_rules(text)) {
    char whole[NAME_SIZE];
    strcpy(whole, text);
    int i = 0;
    unsigned long trigger = 0;
    for (line = strtok_r(text, "\n", &save); line && i < RULES_MAX;
         line = strtok_r(NULL, "\n", &save), i++) {
      char call[16], suffix[1024], action[16], argument[16] = "";
      unsigned long first, times;
      if (sscanf(line, "%15s %1023s %lu %lu %15s %15s", call, suffix, &first, &times, action,
                 argument) < 5)
        continue;
      if (i == 0) trigger = first;
      int all = strcmp(call, "*") == 0 && kind != OPEN && kind != READ && kind < LOCK;
      if (!all && strcmp(call, names[kind]) != 0) continue;
      if (!matches(path, suffix)) continue;
      uint64_t n = ++counters[i];
      if (first == 0 ? counters[0] < trigger : n < first || n - first >= times) continue;
      c.begin = now();
      if (strcmp(action, "error") == 0) c.error = error_named(argument);
      else if (strcmp(action, "short") == 0) c.length = atol(argument);
      else if (strcmp(action, "flip") == 0) c.flip = 1;
      else if (strcmp(action, "vanish") == 0) vanish(path);
      else if (strcmp(action, "delay") == 0) pause_ms(atol(argument));
      else if (strcmp(action, "hang") == 0) {
        c.detail = "hangs";
        record(&c, 0, 0);
        c.detail = detail;
        wait_for_other_rules(whole);
      } else {
        c.detail = action;
        record(&c, 0, 0);
        kill(strcmp(action, "killgroup") == 0 ? 0 : getpid(), SIGKILL);
        for (;;) pause();
      }
    }
  }
  c.begin = now();
  return c;
}

static long leave(struct call *c, long result) {
  int error = errno;
  if ((c->kind != READ && c->kind != STATFS) || c->error) record(c, result, error);
  errno = error;
  return result;
}

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* Makes the call, unless it is to fail. */
#define FAULTY(kind, path, detail, ...)                                                            \
  struct call c = enter(kind, path, detail);                                                       \
  if (c.error) {                                                                                   \
    errno = c.error;                                                                               \
    return leave(&c, -1);                                                                          \
  }                                                                                                \
  return leave(&c, __VA_ARGS__)

/* ---- by descriptor ---- */

#define ON_FD(fd, otherwise)                                                                       \
  char name[NAME_SIZE];                                                                            \
  if (!*path_of(fd, name)) return otherwise

static void *span(char into[64], size_t n, off_t at) {
  snprintf(into, 64, "%lld+%zu", (long long)at, n);
  return into;
}

#define SHORTENED (c.length >= 0 && (size_t)c.length < n ? (size_t)c.length : n)

#define WRITES(type, symbol)                                                                       \
  ssize_t symbol(int fd, const void *buf, size_t n, type at) {                                     \
    ON_FD(fd, REAL(symbol)(fd, buf, n, at));                                                       \
    char detail[64];                                                                               \
    span(detail, n, at);                                                                           \
    FAULTY(WRITE, name, detail, REAL(symbol)(fd, buf, SHORTENED, at));                             \
  }
WRITES(off_t, pwrite)
WRITES(off64_t, pwrite64)

ssize_t write(int fd, const void *buf, size_t n) {
  ON_FD(fd, syscall(SYS_write, fd, buf, n));
  char detail[64];
  span(detail, n, lseek(fd, 0, SEEK_CUR));
  FAULTY(WRITE, name, detail, syscall(SYS_write, fd, buf, SHORTENED));
}

#define WRITES_VECTOR(symbol)                                                                      \
  ssize_t symbol(int fd, const struct iovec *v, int n, off64_t at) {                               \
    ON_FD(fd, REAL(symbol)(fd, v, n, at));                                                         \
    FAULTY(WRITE, name, "vector", REAL(symbol)(fd, v, n, at));                                     \
  }
WRITES_VECTOR(pwritev)
WRITES_VECTOR(pwritev64)

static ssize_t flipped(struct call *c, char *buf, ssize_t n) {
  if (c->flip && n > 0) buf[n - 1] ^= 1;
  return n;
}

#define READS(type, symbol)                                                                        \
  ssize_t symbol(int fd, void *buf, size_t n, type at) {                                           \
    ON_FD(fd, REAL(symbol)(fd, buf, n, at));                                                       \
    char detail[64];                                                                               \
    span(detail, n, at);                                                                           \
    FAULTY(READ, name, detail, flipped(&c, buf, REAL(symbol)(fd, buf, n, at)));                    \
  }
READS(off_t, pread)
READS(off64_t, pread64)

#define TRUNCATES(type, symbol)                                                                    \
  int symbol(int fd, type size) {                                                                  \
    ON_FD(fd, REAL(symbol)(fd, size));                                                             \
    char detail[64];                                                                               \
    snprintf(detail, sizeof detail, "%lld", (long long)size);                                      \
    FAULTY(TRUNCATE, name, detail, REAL(symbol)(fd, size));                                        \
  }
TRUNCATES(off_t, ftruncate)
TRUNCATES(off64_t, ftruncate64)

#define SYNCS(symbol)                                                                              \
  int symbol(int fd) {                                                                             \
    ON_FD(fd, REAL(symbol)(fd));                                                                   \
    FAULTY(SYNC, name, #symbol, REAL(symbol)(fd));                                                 \
  }
SYNCS(fsync)
SYNCS(fdatasync)

int futimens(int fd, const struct timespec times[2]) {
  ON_FD(fd, REAL(futimens)(fd, times));
  FAULTY(UTIMENS, name, "", REAL(futimens)(fd, times));
}

static const char *lock_detail(char into[64], const struct flock *lock) {
  static const char *const types[] = {"read", "write", "unlock"};
  const char *type = lock->l_type == F_RDLCK ? types[0] : types[lock->l_type == F_WRLCK ? 1 : 2];
  snprintf(into, 64, "%s %lld+%lld", type, (long long)lock->l_start, (long long)lock->l_len);
  return into;
}

#define FCNTL(symbol)                                                                              \
  int symbol(int fd, int command, ...) {                                                           \
    va_list arguments;                                                                             \
    va_start(arguments, command);                                                                  \
    void *argument = va_arg(arguments, void *);                                                    \
    va_end(arguments);                                                                             \
    int (*call)(int, int, ...) = (int (*)(int, int, ...))real(#symbol);                            \
    if (command != F_SETLK && command != F_SETLKW) return call(fd, command, argument);             \
    ON_FD(fd, call(fd, command, argument));                                                        \
    char detail[64];                                                                               \
    int kind = ((struct flock *)argument)->l_type == F_UNLCK ? UNLOCK : LOCK;                      \
    FAULTY(kind, name, lock_detail(detail, argument), call(fd, command, argument));                \
  }
FCNTL(fcntl)
FCNTL(fcntl64)

/* ---- by path (relative paths are none of ours) ---- */

static const char *open_detail(char into[64], int flags) {
  snprintf(into, 64, "%s%s%s%s", (flags & O_ACCMODE) == O_RDONLY ? "r" : "rw",
           flags & O_CREAT ? ",create" : "", flags & O_EXCL ? ",exclusive" : "",
           flags & O_TRUNC ? ",truncate" : "");
  return into;
}

static int opens(int dir, const char *path, int flags, int mode) {
  if (!under_root(path)) return syscall(SYS_openat, dir, path, flags, mode);
  char detail[64];
  open_detail(detail, flags);
  FAULTY(OPEN, path, detail, syscall(SYS_openat, dir, path, flags, mode));
}

#define MODE(flags)                                                                                \
  int mode = 0;                                                                                    \
  if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                         \
    va_list arguments;                                                                             \
    va_start(arguments, flags);                                                                    \
    mode = va_arg(arguments, int);                                                                 \
    va_end(arguments);                                                                             \
  }

int open(const char *path, int flags, ...) {
  MODE(flags)
  return opens(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE(flags)
  return opens(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
int openat(int dir, const char *path, int flags, ...) {
  MODE(flags)
  return opens(dir, path, flags, mode);
}
int openat64(int dir, const char *path, int flags, ...) {
  MODE(flags)
  return opens(dir, path, flags | O_LARGEFILE, mode);
}

#define STATFSES(symbol)                                                                           \
  int symbol(const char *path, struct symbol *into) {                                              \
    if (!under_root(path)) return REAL(symbol)(path, into);                                        \
    FAULTY(STATFS, path, "", REAL(symbol)(path, into));                                            \
  }
STATFSES(statfs)
STATFSES(statfs64)

int rename(const char *from, const char *to) {
  if (!under_root(to)) return REAL(rename)(from, to);
  FAULTY(RENAME, to, from, REAL(rename)(from, to));
}

int unlink(const char *path) {
  if (!under_root(path)) return REAL(unlink)(path);
  FAULTY(UNLINK, path, "", REAL(unlink)(path));
}

int unlinkat(int dir, const char *path, int flags) {
  if (!under_root(path)) return REAL(unlinkat)(dir, path, flags);
  FAULTY(UNLINK, path, "", REAL(unlinkat)(dir, path, flags));
}

int remove(const char *path) {
  if (!under_root(path)) return REAL(remove)(path);
  FAULTY(UNLINK, path, "", REAL(remove)(path));
}

int utimensat(int dir, const char *path, const struct timespec times[2], int flags) {
  if (!under_root(path)) return REAL(utimensat)(dir, path, times, flags);
  FAULTY(UTIMENS, path, "", REAL(utimensat)(dir, path, times, flags));
}
