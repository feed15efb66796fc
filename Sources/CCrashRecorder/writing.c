#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

// MARK: Opening

static int open_recorded(int folder, const char *path, int flags, mode_t mode) {
    char buffer[PATH_SIZE];
    const char *name = within(folder, path, buffer);
    if (!name || (flags & O_TMPFILE) == O_TMPFILE || flags & O_PATH) return (int)syscall(SYS_openat, folder, path, flags, mode);
    int end = fails(CRASH_CALL_OPEN);
    if (end > 0) return errno = end, -1;
    enter();
    struct stat before, after;
    int existed = syscall(SYS_newfstatat, folder, path, &before, 0) == 0;
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    int error = errno;
    if (fd >= 0 && syscall(SYS_fstat, fd, &after) == 0 && (S_ISREG(after.st_mode) || S_ISDIR(after.st_mode))) {
        uint32_t file = find(&after);
        if (!file || !existed) file = add(&after, existed ? 0 : CRASH_CREATED, name);
        if (existed && flags & O_TRUNC && before.st_size > 0) emit(CRASH_TRUNCATE, 0, file, 0, 0, NULL, 0, NULL);
    }
    leave(error);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? (mode_t)va_arg(arguments, int) : 0;
}

#define OPEN(name)                                                                                                   \
    int name(const char *path, int flags, ...) {                                                                     \
        va_list arguments;                                                                                           \
        va_start(arguments, flags);                                                                                  \
        mode_t mode = mode_of(flags, arguments);                                                                     \
        va_end(arguments);                                                                                           \
        return open_recorded(AT_FDCWD, path, flags, mode);                                                           \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                                 \
    int name(int folder, const char *path, int flags, ...) {                                                         \
        va_list arguments;                                                                                           \
        va_start(arguments, flags);                                                                                  \
        mode_t mode = mode_of(flags, arguments);                                                                     \
        va_end(arguments);                                                                                           \
        return open_recorded(folder, path, flags, mode);                                                             \
    }
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) { return open_recorded(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

// MARK: Writing

/// After a write of `done` bytes at `offset` (-1: where the descriptor was) from `parts`.
static void written(int fd, uint32_t file, const struct stat *before, off_t offset, const struct iovec *parts, int count, ssize_t done, int is_synchronous) {
    if (done <= 0) return;
    int flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
    uint32_t what = is_synchronous || flags & (O_DSYNC | O_SYNC) ? CRASH_SYNCHRONOUS : 0;
    off_t at = offset;
    if (flags & O_APPEND) at = before->st_size;
    else if (offset < 0) at = syscall(SYS_lseek, fd, 0, SEEK_CUR) - done;
    // One event, so that a synchronous write is one.
    struct crash_event event = {CRASH_WRITE, what, file, (uint64_t)at, (uint64_t)done, 0, 1};
    emit_all(&event, sizeof event);
    for (int i = 0; i < count && done > 0; i++) {
        size_t part = parts[i].iov_len < (size_t)done ? parts[i].iov_len : (size_t)done;
        emit_all(parts[i].iov_base, part);
        done -= (ssize_t)part;
    }
}

/// Writes with the lock held, so that the trace has writes to one place in the order in which they were made. What fails writes
/// nothing; what is short, the first half of its first part.
#define RECORDED_WRITE(fd, offset, parts, count, is_synchronous, call, shorter)                                      \
    do {                                                                                                             \
        struct stat status;                                                                                          \
        if (!may_be_ours(fd, &status)) return call;                                                                  \
        enter();                                                                                                     \
        uint32_t file = number(fd, &status);                                                                         \
        int end = file ? fails(CRASH_CALL_WRITE) : CRASH_CALL_SUCCEEDS;                                              \
        if (end > 0) return leave(end), -1;                                                                          \
        if (file) syscall(SYS_fstat, fd, &status);                                                                   \
        ssize_t done = end == CRASH_CALL_IS_SHORT ? shorter : call;                                                  \
        int error = errno;                                                                                           \
        if (file) written(fd, file, &status, offset, parts, count, done, is_synchronous);                            \
        leave(error);                                                                                                \
        return done;                                                                                                 \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t count) {
    // In a process that the program started the number means something else.
    if (is_recording() && fd == acknowledgements && fd >= 0 && is_recorded_process()) {
        enter();
        uint64_t size = log_size();
        ssize_t done = raw_write(fd, bytes, count);
        int error = errno;
        if (done > 0) emit(CRASH_ACKNOWLEDGE, 0, 0, size, (uint64_t)done, NULL, 0, bytes);
        leave(error);
        return done;
    }
    struct iovec part = {(void *)bytes, count};
    RECORDED_WRITE(fd, -1, &part, 1, 0, raw_write(fd, bytes, count), raw_write(fd, bytes, shortened(count)));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    RECORDED_WRITE(
        fd, -1, parts, count, 0, syscall(SYS_writev, fd, parts, count),
        raw_write(fd, parts[0].iov_base, shortened(parts[0].iov_len)));
}

#define PWRITE(name)                                                                                                 \
    ssize_t name(int fd, const void *bytes, size_t count, off_t offset) {                                            \
        struct iovec part = {(void *)bytes, count};                                                                  \
        RECORDED_WRITE(                                                                                              \
            fd, offset, &part, 1, 0, syscall(SYS_pwrite64, fd, bytes, count, offset),                                \
            syscall(SYS_pwrite64, fd, bytes, shortened(count), offset));                                             \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name)                                                                                                \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset) {                                       \
        RECORDED_WRITE(                                                                                              \
            fd, offset, parts, count, 0, syscall(SYS_pwritev, fd, parts, count, offset, 0),                          \
            syscall(SYS_pwrite64, fd, parts[0].iov_base, shortened(parts[0].iov_len), offset));                      \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define PWRITEV2(name)                                                                                               \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset, int flags) {                            \
        RECORDED_WRITE(                                                                                              \
            fd, offset, parts, count, flags & (RWF_DSYNC | RWF_SYNC),                                                \
            syscall(SYS_pwritev2, fd, parts, count, offset, 0, flags),                                               \
            syscall(SYS_pwrite64, fd, parts[0].iov_base, shortened(parts[0].iov_len), offset));                      \
    }
PWRITEV2(pwritev2)
PWRITEV2(pwritev64v2)
