#define _GNU_SOURCE
#include "CHostMemory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define USER_MODE_ONLY 1
#define DEVICE_NEW _IO(0xAA, 0x00)

struct poison {
    struct uffdio_range range;
    uint64_t mode;
    int64_t updated;
};
#define POISON _IOWR(0xAA, 0x08, struct poison)

static int make(int user_only) {
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | (user_only ? USER_MODE_ONLY : 0));
    if (fd >= 0 || user_only) return fd >= 0 ? fd : -errno;
    int reason = errno;
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device < 0) return -reason;
    fd = ioctl(device, DEVICE_NEW, O_CLOEXEC);
    if (fd < 0) reason = errno;
    close(device);
    return fd >= 0 ? fd : -reason;
}

int hm_uffd_open(int user_only, uint64_t wanted, uint64_t *enabled) {
    // The first handshake asks what there is; a descriptor takes only one.
    struct uffdio_api api = {.api = UFFD_API};
    int fd = make(user_only);
    if (fd < 0) return fd;
    int result = ioctl(fd, UFFDIO_API, &api) < 0 ? -errno : 0;
    close(fd);
    if (result < 0) return result;
    api = (struct uffdio_api){.api = UFFD_API, .features = api.features & wanted};
    *enabled = api.features;
    fd = make(user_only);
    if (fd < 0) return fd;
    if (ioctl(fd, UFFDIO_API, &api) < 0) {
        result = -errno;
        close(fd);
        return result;
    }
    return fd;
}

int hm_uffd_register(int fd, uint64_t start, uint64_t length, uint64_t mode) {
    struct uffdio_register call = {.range = {start, length}, .mode = mode};
    return ioctl(fd, UFFDIO_REGISTER, &call) < 0 ? -errno : 0;
}

int hm_uffd_write_protect(int fd, uint64_t start, uint64_t length, int protect) {
    struct uffdio_writeprotect call = {.range = {start, length}};
    call.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : UFFDIO_WRITEPROTECT_MODE_DONTWAKE;
    return ioctl(fd, UFFDIO_WRITEPROTECT, &call) < 0 ? -errno : 0;
}

int hm_uffd_copy(int fd, uint64_t to, const void *from, uint64_t length, int protect, int64_t *copied) {
    struct uffdio_copy call = {.dst = to, .src = (uint64_t)(uintptr_t)from, .len = length};
    call.mode = UFFDIO_COPY_MODE_DONTWAKE | (protect ? UFFDIO_COPY_MODE_WP : 0);
    int result = ioctl(fd, UFFDIO_COPY, &call) < 0 ? -errno : 0;
    *copied = call.copy > 0 ? call.copy : 0;
    return result;
}

int hm_uffd_poison(int fd, uint64_t start, uint64_t length) {
    struct poison call = {.range = {start, length}};
    return ioctl(fd, POISON, &call) < 0 ? -errno : 0;
}

int hm_uffd_wake(int fd, uint64_t start, uint64_t length) {
    struct uffdio_range call = {start, length};
    return ioctl(fd, UFFDIO_WAKE, &call) < 0 ? -errno : 0;
}

int hm_uffd_next(int fd, uint64_t *address) {
    struct uffd_msg message;
    ssize_t count = read(fd, &message, sizeof message);
    if (count < 0) return -errno;
    if (count != sizeof message || message.event != UFFD_EVENT_PAGEFAULT) return 1;
    *address = message.arg.pagefault.address;
    return 0;
}
