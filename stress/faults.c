/* Loaded before the C library (LD_PRELOAD): the Nth call that touches a watched folder fails, or the process dies there.
 *
 * stress_watch(folder), stress_arm(n, number, sticky) and stress_count() are called through ctypes. With n = 0 nothing
 * fails and calls are only counted. number is an errno, or 0 to kill the process; sticky fails every later call, too.
 * A process that is started with STRESS_FOLDER and STRESS_AT in its environment dies at that call, as do its children.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long at, calls;
static int failure, is_sticky, is_on;
static char last[96];
static unsigned char watched[65536]; /* 1 watched, 2 and written to */

void stress_watch(const char *path) { snprintf(folder, sizeof folder, "%s", path); is_on = path[0] != 0; }
void stress_arm(long n, int number, int sticky) { at = n; failure = number; is_sticky = sticky; calls = 0; last[0] = 0; }

__attribute__((constructor)) static void from_environment(void) {
    const char *path = getenv("STRESS_FOLDER"), *n = getenv("STRESS_AT");
    if (path && n) {
        stress_watch(path);
        stress_arm(atol(n), 0, 0);
    }
}

long stress_count(void) { return calls; }
const char *stress_last(void) { return last; }

static int inside(int dir, const char *path) {
    char base[PATH_MAX], link[64];
    if (!is_on || !path) return 0;
    if (path[0] == '/') return strncmp(path, folder, strlen(folder)) == 0;
    if (dir == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        ssize_t size = readlink(link, base, sizeof base - 1);
        if (size < 0) return 0;
        base[size] = 0;
    }
    return strncmp(base, folder, strlen(folder)) == 0;
}

static int is_watched(int fd) { return is_on && fd >= 0 && fd < 65536 && watched[fd]; }

/* What a call needs of the disk; an error strikes the first call from the Nth on that can have it. */
enum { ANY = 0, ROOM = 1, LEAVE = 2 };

/* 1 if this call is to fail. */
static int fails(const char *name, int needs) {
    long n = __sync_add_and_fetch(&calls, 1);
    if (at == 0 || n < at || (last[0] && !is_sticky)) return 0;
    if (failure == ENOSPC && !(needs & ROOM)) return 0;
    if (failure == EACCES && !(needs & LEAVE)) return 0;
    if (!last[0]) snprintf(last, sizeof last, "%s (call %ld)", name, n);
    if (failure == 0) raise(SIGKILL);
    errno = failure;
    return 1;
}

#define REAL(name) ((__typeof__(&name))real_(#name))
static void *real_(const char *name) { return dlsym(RTLD_NEXT, name); }

#define OPENED(fd, is_in) do { if ((fd) >= 0 && (fd) < 65536) watched[fd] = (is_in); return (fd); } while (0)

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        va_list rest; va_start(rest, flags);                              \
        mode_t mode = va_arg(rest, mode_t); va_end(rest);                 \
        int is_in = inside(AT_FDCWD, path);                               \
        if (is_in && fails(#name, LEAVE | (flags & O_CREAT ? ROOM : ANY))) return -1;                             \
        int fd = ((int (*)(const char *, int, mode_t))real_(#name))(path, flags, mode); \
        OPENED(fd, is_in);                                                \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                      \
    int name(int dir, const char *path, int flags, ...) {                 \
        va_list rest; va_start(rest, flags);                              \
        mode_t mode = va_arg(rest, mode_t); va_end(rest);                 \
        int is_in = inside(dir, path);                                    \
        if (is_in && fails(#name, LEAVE | (flags & O_CREAT ? ROOM : ANY))) return -1;                             \
        int fd = ((int (*)(int, const char *, int, mode_t))real_(#name))(dir, path, flags, mode); \
        OPENED(fd, is_in);                                                \
    }
OPENAT(openat)
OPENAT(openat64)

#define WITH_FD(type, name, needs, params, args)                          \
    type name params {                                                    \
        if (is_watched(fd) && fails(#name, needs)) return -1;             \
        if (is_watched(fd) && needs == ROOM) watched[fd] = 2;             \
        return REAL(name) args;                                           \
    }
WITH_FD(ssize_t, read, ANY, (int fd, void *to, size_t size), (fd, to, size))
WITH_FD(ssize_t, pread, ANY, (int fd, void *to, size_t size, off_t from), (fd, to, size, from))
WITH_FD(ssize_t, pread64, ANY, (int fd, void *to, size_t size, off64_t from), (fd, to, size, from))
WITH_FD(ssize_t, preadv, ANY, (int fd, const struct iovec *to, int n, off_t from), (fd, to, n, from))
WITH_FD(ssize_t, preadv64, ANY, (int fd, const struct iovec *to, int n, off64_t from), (fd, to, n, from))
WITH_FD(ssize_t, write, ROOM, (int fd, const void *from, size_t size), (fd, from, size))
WITH_FD(ssize_t, pwrite, ROOM, (int fd, const void *from, size_t size, off_t to), (fd, from, size, to))
WITH_FD(ssize_t, pwrite64, ROOM, (int fd, const void *from, size_t size, off64_t to), (fd, from, size, to))
WITH_FD(ssize_t, writev, ROOM, (int fd, const struct iovec *from, int n), (fd, from, n))
WITH_FD(int, fsync, ROOM, (int fd), (fd))
WITH_FD(int, fdatasync, ROOM, (int fd), (fd))
WITH_FD(int, ftruncate, ROOM, (int fd, off_t size), (fd, size))
WITH_FD(int, ftruncate64, ROOM, (int fd, off64_t size), (fd, size))

int close(int fd) {
    int is_in = is_watched(fd) && watched[fd] == 2; /* only what was written may be lost as late as here */
    if (fd >= 0 && fd < 65536) watched[fd] = 0;
    int result = REAL(close)(fd); /* the descriptor is gone even where closing fails */
    return is_in && fails("close", ROOM) ? -1 : result;
}

#define WITH_PATH(name, needs, params, args) \
    int name params { if (inside(AT_FDCWD, path) && fails(#name, needs)) return -1; return REAL(name) args; }
WITH_PATH(mkdir, ROOM | LEAVE, (const char *path, mode_t mode), (path, mode))
WITH_PATH(rmdir, LEAVE, (const char *path), (path))
WITH_PATH(unlink, LEAVE, (const char *path), (path))
WITH_PATH(rename, ROOM | LEAVE, (const char *path, const char *to), (path, to))
WITH_PATH(link, ROOM | LEAVE, (const char *path, const char *to), (path, to))
WITH_PATH(truncate, LEAVE, (const char *path, off_t size), (path, size))

#define WITH_DIR(name, needs, params, args) \
    int name params { if (inside(dir, path) && fails(#name, needs)) return -1; return REAL(name) args; }
WITH_DIR(mkdirat, ROOM | LEAVE, (int dir, const char *path, mode_t mode), (dir, path, mode))
WITH_DIR(unlinkat, LEAVE, (int dir, const char *path, int flags), (dir, path, flags))
WITH_DIR(renameat, ROOM | LEAVE, (int dir, const char *path, int into, const char *to), (dir, path, into, to))
WITH_DIR(linkat, ROOM | LEAVE, (int dir, const char *path, int into, const char *to, int flags), (dir, path, into, to, flags))
