#define _GNU_SOURCE
#include "CHostMemory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

int hm_memory_file(int64_t length) {
    int fd = memfd_create("varve", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -errno;
    // A memory file is made with mode 0777: another user who is given a descriptor could open it anew.
    if (fchmod(fd, 0600) == 0 && ftruncate(fd, length) == 0
        && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    int reason = errno;
    close(fd);
    return -reason;
}

int hm_punch(int fd, int64_t offset, int64_t length) {
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) < 0 ? -errno : 0;
}

int64_t hm_next_data(int fd, int64_t offset) {
    int64_t found = lseek(fd, offset, SEEK_DATA);
    return found < 0 ? -errno : found;
}

int64_t hm_next_hole(int fd, int64_t offset) {
    int64_t found = lseek(fd, offset, SEEK_HOLE);
    return found < 0 ? -errno : found;
}

int hm_is_cached(int fd, uint64_t offset, uint64_t length) {
    // cachestat(2), Linux 6.5; the C library of Debian 12 has neither the number nor the structures.
    struct { uint64_t offset, length; } range = {offset, length};
    struct { uint64_t cached, dirty, writeback, evicted, recently_evicted; } found;
    if (syscall(451, fd, &range, &found, 0) < 0) return 1;
    uint64_t page = (uint64_t)getpagesize();
    return found.cached >= (offset + length + page - 1) / page - offset / page;
}

int hm_lock_on_fault(uint64_t start, uint64_t length) {
    return mlock2((void *)start, length, MLOCK_ONFAULT) < 0 ? -errno : 0;
}

int hm_swap_space(uint64_t *total, uint64_t *unused) {
    struct sysinfo info;
    if (sysinfo(&info) < 0) return -errno;
    *total = info.totalswap;
    *unused = info.freeswap;
    return 0;
}

/// For file systems that make no file without a name. One name, so that a process that is killed here leaves one file at most,
/// which the next call removes; whoever comes in between makes a file of its own.
static int unlinked_file(const char *folder) {
    char name[4096];
    int length = snprintf(name, sizeof name, "%s/.shadow", folder);
    if (length < 0 || (size_t)length >= sizeof name) return -ENAMETOOLONG;
    int fd;
    for (int attempt = 0; attempt < 100; attempt++) {
        unlink(name);
        fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0 || errno != EEXIST) break;
    }
    if (fd < 0) return -errno;
    unlink(name);
    return fd;
}

int hm_shadow_file(const char *folder, int64_t length) {
    // Beyond the limit the kernel would send a signal, too.
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && (uint64_t)length > limit.rlim_cur) return -EFBIG;
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    if (fd < 0) {
        int lacks = errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT || errno == EINVAL;
        if (!lacks) return -errno;
        fd = unlinked_file(folder);
        if (fd < 0) return fd;
    }
    if (ftruncate(fd, length) == 0) return fd;
    int reason = errno;
    close(fd);
    return -reason;
}

int hm_write_back(int fd, int64_t offset, int64_t length) {
    // Its files have no pages of their own to wait for: those of the file below are synced with it.
    const unsigned long overlay = 0x794c7630;
    struct statfs info;
    if (fstatfs(fd, &info) == 0 && (unsigned long)info.f_type == overlay) return fdatasync(fd) < 0 ? -errno : 0;
    unsigned how = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    return sync_file_range(fd, offset, length, how) < 0 ? -errno : 0;
}
