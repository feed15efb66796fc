#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// MARK: Durability

static uint64_t sync_count;

static int synced(int fd, long call) {
    struct stat status;
    uint32_t file = 0;
    uint64_t count = 0;
    if (may_be_ours(fd, &status)) {
        enter();
        file = number(fd, &status);
        int end = file ? fails(CRASH_CALL_SYNC) : CRASH_CALL_SUCCEEDS;
        if (end > 0) {
            // An interrupted one has begun nothing yet.
            if (end != EINTR) emit(CRASH_SYNC_FAILED, 0, file, 0, 0, NULL, 0, NULL);
            return leave(end), -1;
        }
        if (file) {
            count = ++sync_count;
            emit(CRASH_SYNC_BEGIN, 0, file, count, 0, NULL, 0, NULL);
        }
        leave(errno);
    }
    int result = (int)syscall(call, fd);
    int error = errno;
    if (file && result == 0) {
        enter();
        emit(CRASH_SYNC_END, 0, file, count, 0, NULL, 0, NULL);
        leave(error);
    }
    errno = error;
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

// MARK: Sizes

#define FTRUNCATE(name)                                                                                              \
    int name(int fd, off_t size) {                                                                                   \
        struct stat status;                                                                                          \
        if (!may_be_ours(fd, &status)) return (int)syscall(SYS_ftruncate, fd, size);                                 \
        enter();                                                                                                     \
        uint32_t file = number(fd, &status);                                                                         \
        int end = file ? fails(CRASH_CALL_TRUNCATE) : CRASH_CALL_SUCCEEDS;                                           \
        if (end > 0) return leave(end), -1;                                                                          \
        int result = (int)syscall(SYS_ftruncate, fd, size);                                                          \
        int error = errno;                                                                                           \
        if (file && result == 0) emit(CRASH_TRUNCATE, 0, file, 0, (uint64_t)size, NULL, 0, NULL);                    \
        leave(error);                                                                                                \
        return result;                                                                                               \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

static int allocated(int fd, int mode, off_t offset, off_t length) {
    struct stat status;
    if (!may_be_ours(fd, &status)) return (int)syscall(SYS_fallocate, fd, mode, offset, length);
    enter();
    uint32_t file = number(fd, &status);
    int end = file ? fails(CRASH_CALL_ALLOCATE) : CRASH_CALL_SUCCEEDS;
    if (end > 0) return leave(end), -1;
    int result = (int)syscall(SYS_fallocate, fd, mode, offset, length);
    int error = errno;
    if (file && result == 0) {
        if (mode == 0) emit(CRASH_ALLOCATE, 0, file, (uint64_t)offset, (uint64_t)length, NULL, 0, NULL);
        else if (mode != FALLOC_FL_KEEP_SIZE) emit_unknown("fallocate");
    }
    leave(error);
    return result;
}

int fallocate(int fd, int mode, off_t offset, off_t length) { return allocated(fd, mode, offset, length); }
int fallocate64(int fd, int mode, off_t offset, off_t length) { return allocated(fd, mode, offset, length); }

#define POSIX_FALLOCATE(name)                                                                                        \
    int name(int fd, off_t offset, off_t length) {                                                                   \
        int before = errno, code = allocated(fd, 0, offset, length) == 0 ? 0 : errno;                                \
        errno = before;                                                                                              \
        return code;                                                                                                 \
    }
POSIX_FALLOCATE(posix_fallocate)
POSIX_FALLOCATE(posix_fallocate64)

// MARK: Names

static int renamed(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    char a[PATH_SIZE], b[PATH_SIZE];
    const char *old = within(from_folder, from, a), *new = within(to_folder, to, b);
    if (!old && !new) return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    int end = fails(CRASH_CALL_RENAME);
    if (end > 0) return errno = end, -1;
    enter();
    struct stat replaced;
    int replaces = syscall(SYS_newfstatat, to_folder, to, &replaced, AT_SYMLINK_NOFOLLOW) == 0;
    int result = (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    int error = errno;
    if (result == 0) {
        if (!old || !new || flags & RENAME_EXCHANGE) {
            emit_unknown("rename");
        } else {
            char both[2 * PATH_SIZE];
            size_t length = strlen(old), all = length + 1 + strlen(new);
            memcpy(both, old, length + 1);
            memcpy(both + length + 1, new, strlen(new));
            emit(CRASH_RENAME, 0, 0, 0, 0, both, all, NULL);
            if (replaces) forget(&replaced);
        }
    }
    leave(error);
    return result;
}

int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return renamed(a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return renamed(a, from, b, to, flags); }

static int removed(int folder, const char *path, int flags) {
    char buffer[PATH_SIZE];
    const char *name = within(folder, path, buffer);
    if (!name) return (int)syscall(SYS_unlinkat, folder, path, flags);
    int end = fails(CRASH_CALL_REMOVE);
    if (end > 0) return errno = end, -1;
    enter();
    struct stat status;
    int existed = syscall(SYS_newfstatat, folder, path, &status, AT_SYMLINK_NOFOLLOW) == 0;
    int result = (int)syscall(SYS_unlinkat, folder, path, flags);
    int error = errno;
    if (result == 0) {
        emit(flags & AT_REMOVEDIR ? CRASH_REMOVE_FOLDER : CRASH_UNLINK, 0, 0, 0, 0, name, strlen(name), NULL);
        if (existed) forget(&status);
    }
    leave(error);
    return result;
}

int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return removed(folder, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }

int remove(const char *path) {
    int result = removed(AT_FDCWD, path, 0);
    return result != 0 && errno == EISDIR ? removed(AT_FDCWD, path, AT_REMOVEDIR) : result;
}

static int made(int folder, const char *path, mode_t mode) {
    char buffer[PATH_SIZE];
    const char *name = within(folder, path, buffer);
    if (!name) return (int)syscall(SYS_mkdirat, folder, path, mode);
    int end = fails(CRASH_CALL_MAKE_FOLDER);
    if (end > 0) return errno = end, -1;
    enter();
    int result = (int)syscall(SYS_mkdirat, folder, path, mode);
    int error = errno;
    if (result == 0) emit(CRASH_MAKE_FOLDER, 0, 0, 0, 0, name, strlen(name), NULL);
    leave(error);
    return result;
}

int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return made(folder, path, mode); }
