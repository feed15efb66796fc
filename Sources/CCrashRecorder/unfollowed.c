#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// MARK: What would make the trace a lie

static void unknown_of(int fd, const char *call) {
    struct stat status;
    if (!may_be_ours(fd, &status)) return;
    enter();
    if (number(fd, &status)) emit_unknown(call);
    leave(errno);
}

static void unknown_at(int folder, const char *path, const char *call) {
    char buffer[PATH_SIZE];
    if (!within(folder, path, buffer)) return;
    enter();
    emit_unknown(call);
    leave(errno);
}

/// What databases make anew at each opening by its first user, with nothing durable in it.
static int is_volatile(const char *path) {
    size_t length = strlen(path);
    return (length >= 5 && strcmp(path + length - 5, "-lock") == 0) || (length >= 8 && strcmp(path + length - 8, "lock.mdb") == 0) ||
           (length >= 4 && strcmp(path + length - 4, "-shm") == 0);
}

static void *mapped(void *address, size_t length, int protection, int flags, int fd, off_t offset, void *caller) {
    // A runtime maps memory of its own, and can't go on without it.
    int end = is_stores_code(caller) ? fails(CRASH_CALL_MAP) : CRASH_CALL_SUCCEEDS;
    if (end > 0) return errno = end, MAP_FAILED;
    void *result = (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
    if (result == MAP_FAILED || !is_recording() || flags & MAP_ANONYMOUS || !(protection & PROT_WRITE) || (flags & MAP_TYPE) == MAP_PRIVATE)
        return result;
    char buffer[PATH_SIZE];
    const char *path = path_of(fd, buffer);
    if (path && !is_volatile(path)) unknown_of(fd, "a writable shared mapping");
    return result;
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return mapped(address, length, protection, flags, fd, offset, __builtin_return_address(0));
}
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return mapped(address, length, protection, flags, fd, offset, __builtin_return_address(0));
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    unknown_of(out, "copy_file_range");
    return syscall(SYS_copy_file_range, in, from, out, to, length, flags);
}

#define SENDFILE(name)                                                                                               \
    ssize_t name(int out, int in, off_t *offset, size_t count) {                                                     \
        unknown_of(out, "sendfile");                                                                                 \
        return syscall(SYS_sendfile, out, in, offset, count);                                                        \
    }
SENDFILE(sendfile)
SENDFILE(sendfile64)

#define TRUNCATE(name)                                                                                               \
    int name(const char *path, off_t size) {                                                                         \
        unknown_at(AT_FDCWD, path, "truncate");                                                                      \
        return (int)syscall(SYS_truncate, path, size);                                                               \
    }
TRUNCATE(truncate)
TRUNCATE(truncate64)

int link(const char *from, const char *to) {
    unknown_at(AT_FDCWD, to, "link");
    return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    unknown_at(b, to, "linkat");
    return (int)syscall(SYS_linkat, a, from, b, to, flags);
}
int symlink(const char *target, const char *path) {
    unknown_at(AT_FDCWD, path, "symlink");
    return (int)syscall(SYS_symlinkat, target, AT_FDCWD, path);
}
