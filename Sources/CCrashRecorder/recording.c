#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[4096];
static size_t root_length;
static int trace = -1;
int acknowledgements = -1;
static char block_log[PATH_MAX];
static pid_t process;

/// Files are known by their inodes, so that it does not matter how a descriptor came to be. Index and one is the number.
static struct { dev_t device; ino_t inode; int is_dead; } files[MAXIMUM_FILES];
static uint32_t file_count;

ssize_t raw_write(int fd, const void *bytes, size_t count) { return syscall(SYS_write, fd, bytes, count); }

void die(const char *why) {
    raw_write(2, "crash recorder: ", 16);
    raw_write(2, why, strlen(why));
    raw_write(2, "\n", 1);
    _exit(70);
}

void emit_all(const void *bytes, size_t count) {
    const char *p = bytes;
    if (!is_recording()) return;
    while (count > 0) {
        ssize_t done = raw_write(trace, p, count);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) die("the trace can't be written");
        p += done;
        count -= (size_t)done;
    }
}

void emit(uint32_t kind, uint32_t flags, uint64_t file, uint64_t offset, uint64_t length, const char *path, size_t path_length, const void *data) {
    struct crash_event event = {kind, flags, file, offset, length, (uint32_t)path_length, data != NULL};
    emit_all(&event, sizeof event);
    if (path_length) emit_all(path, path_length);
    if (data) emit_all(data, length);
}

void emit_unknown(const char *call) { emit(CRASH_UNKNOWN, 0, 0, 0, 0, call, strlen(call), NULL); }

uint64_t log_size(void) {
    struct stat status;
    if (!block_log[0]) return 0;
    if (syscall(SYS_newfstatat, AT_FDCWD, block_log, &status, 0) != 0) die("VARVE_CRASHLAB_LOG can't be looked at");
    return (uint64_t)status.st_size;
}

/// What the C library's own output does with its bytes: its writes go past our `write`.
static ssize_t print(void *cookie, const char *bytes, size_t count) {
    (void)cookie;
    return write(acknowledgements, bytes, count);
}

// The process that came first. A program that replaces itself by another is still the one; what it starts is not, and spoils the
// trace where it changes files. It is noted beside the trace and not in the environment: a Swift runtime that is linked in finds
// the program's arguments by where the environment lies, which setenv moves.
static pid_t first_process(const char *path) {
    char name[PATH_MAX];
    if ((size_t)snprintf(name, sizeof name, "%s.process", path) >= sizeof name) die("VARVE_CRASHLAB_TRACE is too long");
    pid_t first = (pid_t)syscall(SYS_getpid);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        if (syscall(SYS_write, fd, &first, sizeof first) != sizeof first) die("the trace's process can't be noted");
    } else {
        fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
        if (fd < 0 || syscall(SYS_read, fd, &first, sizeof first) != sizeof first) die("the trace's process is not known");
    }
    syscall(SYS_close, fd);
    return first;
}

__attribute__((constructor)) void varve_crash_begin(void) {
    const char *folder = getenv("VARVE_CRASHLAB_ROOT"), *path = getenv("VARVE_CRASHLAB_TRACE"), *acks = getenv("VARVE_CRASHLAB_ACKS");
    const char *log = getenv("VARVE_CRASHLAB_LOG");
    if (!folder) return;
    root_length = strlen(folder);
    if (root_length == 0 || root_length >= sizeof root) die("VARVE_CRASHLAB_ROOT is too long");
    memcpy(root, folder, root_length + 1);
    begin_faults();
    if (!path) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) die("the trace can't be opened");
    // Out of the way of programs that expect small numbers.
    trace = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900);
    if (trace < 0) die("the trace can't be moved to a high descriptor");
    syscall(SYS_close, fd);
    process = first_process(path);
    if (acks) acknowledgements = atoi(acks);
    if (log) {
        if (strlen(log) >= sizeof block_log) die("VARVE_CRASHLAB_LOG is too long");
        strcpy(block_log, log);
    }
    if (acknowledgements == STDOUT_FILENO) {
        cookie_io_functions_t functions = {.write = print};
        FILE *lines = fopencookie(NULL, "w", functions);
        if (!lines) die("no memory for the output");
        setvbuf(lines, NULL, _IOLBF, 4096);
        // Programs ask for its descriptor.
        lines->_fileno = STDOUT_FILENO;
        stdout = lines;
    }
}

int is_active(void) { return root_length > 0; }
int is_recording(void) { return trace >= 0; }

int is_recorded_process(void) { return (pid_t)syscall(SYS_getpid) == process; }

void enter(void) {
    pthread_mutex_lock(&lock);
    if (is_recording() && !is_recorded_process()) emit_unknown("another process");
}

void leave(int error) {
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

const char *within(int folder, const char *path, char *buffer) {
    if (!is_active()) return NULL;
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

const char *path_of(int fd, char *buffer) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlink, link, buffer, PATH_SIZE - 1);
    if (length <= 0) return NULL;
    buffer[length] = 0;
    return below_root(buffer);
}

uint32_t find(const struct stat *status) {
    for (uint32_t i = 0; i < file_count; i++)
        if (!files[i].is_dead && files[i].device == status->st_dev && files[i].inode == status->st_ino) return i + 1;
    return 0;
}

uint32_t add(const struct stat *status, uint32_t flags, const char *path) {
    if (file_count == MAXIMUM_FILES) die("too many files");
    files[file_count].device = status->st_dev;
    files[file_count].inode = status->st_ino;
    file_count++;
    emit(CRASH_OPEN, flags | (S_ISDIR(status->st_mode) ? CRASH_FOLDER : 0), file_count, 0, 0, path, strlen(path), NULL);
    return file_count;
}

int may_be_ours(int fd, struct stat *status) {
    if (!is_active() || fd == trace) return 0;
    int error = errno;
    int result = syscall(SYS_fstat, fd, status) == 0 && (S_ISREG(status->st_mode) || S_ISDIR(status->st_mode)) && status->st_nlink > 0;
    errno = error;
    return result;
}

uint32_t number(int fd, const struct stat *status) {
    uint32_t file = find(status);
    if (file) return file;
    char buffer[PATH_SIZE];
    const char *path = path_of(fd, buffer);
    if (!path) return 0;
    // A folder that was opened in a way of its own; a file of which we don't know whether it has just been made.
    if (!S_ISDIR(status->st_mode)) emit_unknown("a file that was opened past the recorder");
    return add(status, 0, path);
}

void forget(const struct stat *status) {
    if (status->st_nlink > 1 && !S_ISDIR(status->st_mode)) return;
    uint32_t file = find(status);
    if (file) files[file - 1].is_dead = 1;
}
