#define _GNU_SOURCE
#include "crash_recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAXIMUM_FILES 65536
#define PATH_SIZE 8192

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[4096];
static size_t root_length;
static int trace = -1;
static int acknowledgements = -1;
static pid_t process;

/// Files are known by their inodes, so that it does not matter how a descriptor came to be. Index and one is the number.
static struct { dev_t device; ino_t inode; int is_dead; } files[MAXIMUM_FILES];
static uint32_t file_count;
static uint64_t sync_count;

/// Everything here goes past the C library's own names, which are ours.
static ssize_t raw_write(int fd, const void *bytes, size_t count) { return syscall(SYS_write, fd, bytes, count); }

static void die(const char *why) {
    raw_write(2, "crash recorder: ", 16);
    raw_write(2, why, strlen(why));
    raw_write(2, "\n", 1);
    _exit(70);
}

static void emit_all(const void *bytes, size_t count) {
    const char *p = bytes;
    while (count > 0) {
        ssize_t done = raw_write(trace, p, count);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) die("the trace can't be written");
        p += done;
        count -= (size_t)done;
    }
}

static void emit(uint32_t kind, uint32_t flags, uint64_t file, uint64_t offset, uint64_t length, const char *path, size_t path_length, const void *data) {
    struct crash_event event = {kind, flags, file, offset, length, (uint32_t)path_length, data != NULL};
    emit_all(&event, sizeof event);
    if (path_length) emit_all(path, path_length);
    if (data) emit_all(data, length);
}

static void emit_unknown(const char *call) { emit(CRASH_UNKNOWN, 0, 0, 0, 0, call, strlen(call), NULL); }

/// What the C library's own output does with its bytes: its writes go past our `write`.
static ssize_t print(void *cookie, const char *bytes, size_t count) {
    (void)cookie;
    return write(acknowledgements, bytes, count);
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("VARVE_CRASHLAB_ROOT"), *path = getenv("VARVE_CRASHLAB_TRACE"), *acks = getenv("VARVE_CRASHLAB_ACKS");
    if (!folder || !path) return;
    root_length = strlen(folder);
    if (root_length == 0 || root_length >= sizeof root) die("VARVE_CRASHLAB_ROOT is too long");
    memcpy(root, folder, root_length + 1);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) die("the trace can't be opened");
    // Out of the way of programs that expect small numbers.
    trace = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900);
    if (trace < 0) die("the trace can't be moved to a high descriptor");
    syscall(SYS_close, fd);
    // A program that replaces itself by another is still the one; what it starts is not, and spoils the trace where it changes files.
    const char *first = getenv("VARVE_CRASHLAB_PROCESS");
    process = first ? (pid_t)atoi(first) : (pid_t)syscall(SYS_getpid);
    char number[32];
    snprintf(number, sizeof number, "%d", (int)process);
    setenv("VARVE_CRASHLAB_PROCESS", number, 1);
    if (acks) acknowledgements = atoi(acks);
    if (acknowledgements == STDOUT_FILENO) {
        cookie_io_functions_t functions = {.write = print};
        FILE *lines = fopencookie(NULL, "w", functions);
        if (!lines) die("no memory for the output");
        setvbuf(lines, NULL, _IOLBF, 4096);
        stdout = lines;
    }
}

static int is_recording(void) { return trace >= 0; }

/// Takes the lock; what another process does is no part of the trace that could be told in order.
static void enter(void) {
    pthread_mutex_lock(&lock);
    if ((pid_t)syscall(SYS_getpid) != process) emit_unknown("another process");
}

static void leave(int error) {
    pthread_mutex_unlock(&lock);
    errno = error;
}

/// The part of an absolute path that lies below the root; NULL where it lies elsewhere.
static const char *below_root(const char *path) {
    if (strncmp(path, root, root_length) != 0 || (path[root_length] != '/' && path[root_length] != 0)) return NULL;
    const char *rest = path + root_length;
    while (*rest == '/') rest++;
    return rest;
}

/// The path relative to the root of what `path` names; NULL where that is elsewhere.
static const char *within(int folder, const char *path, char *buffer) {
    if (!is_recording()) return NULL;
    if (path[0] != '/') {
        char link[64];
        if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = syscall(SYS_readlink, link, buffer, PATH_SIZE);
        if (length < 0 || (size_t)length + 1 + strlen(path) + 1 > PATH_SIZE) return NULL;
        buffer[length] = '/';
        strcpy(buffer + length + 1, path);
    } else {
        if (strlen(path) >= PATH_SIZE) return NULL;
        strcpy(buffer, path);
    }
    return below_root(buffer);
}

/// The path below the root of what a descriptor is open on; NULL where it lies elsewhere or has no name any more.
static const char *path_of(int fd, char *buffer) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlink, link, buffer, PATH_SIZE - 1);
    if (length <= 0) return NULL;
    buffer[length] = 0;
    return below_root(buffer);
}

static uint32_t find(const struct stat *status) {
    for (uint32_t i = 0; i < file_count; i++)
        if (!files[i].is_dead && files[i].device == status->st_dev && files[i].inode == status->st_ino) return i + 1;
    return 0;
}

static uint32_t add(const struct stat *status, uint32_t flags, const char *path) {
    if (file_count == MAXIMUM_FILES) die("too many files");
    files[file_count].device = status->st_dev;
    files[file_count].inode = status->st_ino;
    file_count++;
    emit(CRASH_OPEN, flags | (S_ISDIR(status->st_mode) ? CRASH_FOLDER : 0), file_count, 0, 0, path, strlen(path), NULL);
    return file_count;
}

/// True where a descriptor may be one of a file below the root; cheap, and without the lock.
static int may_be_ours(int fd, struct stat *status) {
    if (!is_recording() || fd == trace) return 0;
    int error = errno;
    int result = syscall(SYS_fstat, fd, status) == 0 && (S_ISREG(status->st_mode) || S_ISDIR(status->st_mode)) && status->st_nlink > 0;
    errno = error;
    return result;
}

/// The number of the file that a descriptor is open on; 0 where it is not below the root. With the lock.
static uint32_t number(int fd, const struct stat *status) {
    uint32_t file = find(status);
    if (file) return file;
    char buffer[PATH_SIZE];
    const char *path = path_of(fd, buffer);
    if (!path) return 0;
    // A folder that was opened in a way of its own; a file of which we don't know whether it has just been made.
    if (!S_ISDIR(status->st_mode)) emit_unknown("a file that was opened past the recorder");
    return add(status, 0, path);
}

/// Records that the last name of a file went: its inode may be another file's from now on.
static void forget(const struct stat *status) {
    if (status->st_nlink > 1 && !S_ISDIR(status->st_mode)) return;
    uint32_t file = find(status);
    if (file) files[file - 1].is_dead = 1;
}

// MARK: Opening

static int open_recorded(int folder, const char *path, int flags, mode_t mode) {
    char buffer[PATH_SIZE];
    const char *name = within(folder, path, buffer);
    if (!name || (flags & O_TMPFILE) == O_TMPFILE || flags & O_PATH) return (int)syscall(SYS_openat, folder, path, flags, mode);
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

/// Writes with the lock held, so that the trace has writes to one place in the order in which they were made.
#define RECORDED_WRITE(fd, offset, parts, count, is_synchronous, call)                                               \
    do {                                                                                                             \
        struct stat status;                                                                                          \
        if (!may_be_ours(fd, &status)) return call;                                                                  \
        enter();                                                                                                     \
        uint32_t file = number(fd, &status);                                                                         \
        if (file) syscall(SYS_fstat, fd, &status);                                                                   \
        ssize_t done = call;                                                                                         \
        int error = errno;                                                                                           \
        if (file) written(fd, file, &status, offset, parts, count, done, is_synchronous);                            \
        leave(error);                                                                                                \
        return done;                                                                                                 \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t count) {
    if (is_recording() && fd == acknowledgements && fd >= 0) {
        enter();
        ssize_t done = raw_write(fd, bytes, count);
        int error = errno;
        if (done > 0) emit(CRASH_ACKNOWLEDGE, 0, 0, 0, (uint64_t)done, NULL, 0, bytes);
        leave(error);
        return done;
    }
    struct iovec part = {(void *)bytes, count};
    RECORDED_WRITE(fd, -1, &part, 1, 0, raw_write(fd, bytes, count));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    RECORDED_WRITE(fd, -1, parts, count, 0, syscall(SYS_writev, fd, parts, count));
}

#define PWRITE(name)                                                                                                 \
    ssize_t name(int fd, const void *bytes, size_t count, off_t offset) {                                            \
        struct iovec part = {(void *)bytes, count};                                                                  \
        RECORDED_WRITE(fd, offset, &part, 1, 0, syscall(SYS_pwrite64, fd, bytes, count, offset));                    \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name)                                                                                                \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset) {                                       \
        RECORDED_WRITE(fd, offset, parts, count, 0, syscall(SYS_pwritev, fd, parts, count, offset, 0));              \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define PWRITEV2(name)                                                                                               \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset, int flags) {                            \
        RECORDED_WRITE(                                                                                              \
            fd, offset, parts, count, flags & (RWF_DSYNC | RWF_SYNC),                                                \
            syscall(SYS_pwritev2, fd, parts, count, offset, 0, flags));                                              \
    }
PWRITEV2(pwritev2)
PWRITEV2(pwritev64v2)

// MARK: Durability

static int synced(int fd, long call) {
    struct stat status;
    uint32_t file = 0;
    uint64_t count = 0;
    if (may_be_ours(fd, &status)) {
        enter();
        file = number(fd, &status);
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
    enter();
    int result = (int)syscall(SYS_mkdirat, folder, path, mode);
    int error = errno;
    if (result == 0) emit(CRASH_MAKE_FOLDER, 0, 0, 0, 0, name, strlen(name), NULL);
    leave(error);
    return result;
}

int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return made(folder, path, mode); }

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

static void *mapped(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    void *result = (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
    if (result == MAP_FAILED || !is_recording() || flags & MAP_ANONYMOUS || !(protection & PROT_WRITE) || (flags & MAP_TYPE) == MAP_PRIVATE)
        return result;
    char buffer[PATH_SIZE];
    const char *path = path_of(fd, buffer);
    if (path && !is_volatile(path)) unknown_of(fd, "a writable shared mapping");
    return result;
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return mapped(address, length, protection, flags, fd, offset);
}
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return mapped(address, length, protection, flags, fd, offset);
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
