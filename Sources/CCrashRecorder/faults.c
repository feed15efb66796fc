#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// MARK: Which call fails

static struct {
    uint32_t call;
    /// 0: any.
    uint64_t site;
    unsigned long number;
    int error;
    int is_lasting;
} fault;
/// Of the calls that `fault` may mean, and of all kinds.
static unsigned long matching, calls[CRASH_CALL_ALLOCATE_MEMORY + 1];
static int sites = -1;
/// What this thread allocates while it looks at a call is none.
static __thread int is_looking __attribute__((tls_model("initial-exec")));

// MARK: Where calls come from

#define FRAMES 48
#define OWN_FRAMES 4
#define MOST_SITES 8192

struct range {
    uintptr_t base, start, end;
};
/// The program itself, and the libraries whose calls are the store's too.
static struct range own, libraries[2];
static const char *const library_names[2] = {"liblmdb", "libsqlite3"};
static int runtime_is_apart;
static uint64_t seen[MOST_SITES];
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;

static int is_in(const struct range *range, uintptr_t address) { return address >= range->start && address < range->end; }

static int look_at_module(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size;
    (void)unused;
    struct range found = {info->dlpi_addr, UINTPTR_MAX, 0};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X)) continue;
        uintptr_t start = info->dlpi_addr + header->p_vaddr;
        if (start < found.start) found.start = start;
        if (start + header->p_memsz > found.end) found.end = start + header->p_memsz;
    }
    if (!info->dlpi_name || !*info->dlpi_name) {
        if (!own.end) own = found;
        return 0;
    }
    const char *slash = strrchr(info->dlpi_name, '/'), *name = slash ? slash + 1 : info->dlpi_name;
    for (int i = 0; i < 2; i++)
        if (strncmp(name, library_names[i], strlen(library_names[i])) == 0) libraries[i] = found;
    if (strncmp(name, "libswiftCore", 12) == 0) runtime_is_apart = 1;
    return 0;
}

static void mix(uint64_t *hash, uint64_t word) {
    uint64_t z = *hash ^ word;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    *hash = z ^ z >> 31;
}

/// Notes a place that was not seen before; whether it was.
static int is_new(uint64_t site) {
    int result = 0;
    pthread_mutex_lock(&seen_lock);
    for (size_t i = site % MOST_SITES, tries = 0; tries < MOST_SITES; i = (i + 1) % MOST_SITES, tries++) {
        if (seen[i] == site) break;
        if (seen[i]) continue;
        seen[i] = site;
        result = 1;
        break;
    }
    pthread_mutex_unlock(&seen_lock);
    return result;
}

static void tell(const char *line, int length) {
    if (length > 0 && sites >= 0) raw_write(sites, line, (size_t)length);
}

/// The place of the call that is looked at: the call in a library of the store's, and the innermost calls of the program's own.
static uint64_t place(uint32_t call) {
    void *frames[FRAMES];
    char line[512];
    int count = backtrace(frames, FRAMES), from = 0, found = 0;
    uint64_t site = 0x9e3779b97f4a7c15;
    uintptr_t inner[OWN_FRAMES], within_library = 0;
    mix(&site, call);
    for (int i = 0; i < count && found < OWN_FRAMES; i++) {
        uintptr_t address = (uintptr_t)frames[i];
        if (is_in(&own, address)) inner[found++] = address - own.base;
        for (int j = 0; j < 2 && !found && !from; j++) {
            if (!is_in(&libraries[j], address)) continue;
            from = j + 1;
            within_library = address - libraries[j].base;
        }
    }
    mix(&site, (uint64_t)from << 56 ^ within_library);
    for (int i = 0; i < found; i++) mix(&site, inner[i]);
    if (is_new(site)) {
        int length = snprintf(line, sizeof line, "site %u %llx %s %lx", call, (unsigned long long)site, from ? library_names[from - 1] : "-", within_library);
        for (int i = 0; i < found; i++) length += snprintf(line + length, sizeof line - (size_t)length, " %lx", inner[i]);
        line[length++] = '\n';
        tell(line, length);
    }
    return site;
}

int fails(uint32_t call) {
    if (sites < 0 || is_looking) return CRASH_CALL_SUCCEEDS;
    is_looking = 1;
    uint64_t site = place(call);
    int result = CRASH_CALL_SUCCEEDS;
    __atomic_add_fetch(&calls[call], 1, __ATOMIC_RELAXED);
    if (call == fault.call && (!fault.site || fault.site == site)) {
        unsigned long number = __atomic_add_fetch(&matching, 1, __ATOMIC_RELAXED);
        if (number == fault.number || (number > fault.number && fault.is_lasting)) {
            char line[64];
            if (number == fault.number || is_new(site ^ 1)) tell(line, snprintf(line, sizeof line, "failed %u %llx\n", call, (unsigned long long)site));
            result = fault.error;
        }
    }
    is_looking = 0;
    return result;
}

size_t shortened(size_t count) {
    size_t half = count / 2;
    // What goes past the page cache goes in whole blocks.
    return half >= 4096 ? half & ~(size_t)4095 : count % 512 == 0 && count > 0 && half < 4096 ? count : half ? half : count;
}

void begin_faults(void) {
    const char *path = getenv("VARVE_CRASHLAB_SITES"), *what = getenv("VARVE_CRASHLAB_FAULT");
    if (!path) return;
    // The first one loads libraries.
    void *frames[FRAMES];
    is_looking = 1;
    backtrace(frames, FRAMES);
    dl_iterate_phdr(look_at_module, NULL);
    unsigned long long site = 0;
    if (what && sscanf(what, "%u:%llx:%lu:%d:%d", &fault.call, &site, &fault.number, &fault.error, &fault.is_lasting) != 5)
        die("VARVE_CRASHLAB_FAULT is no CALL:SITE:NUMBER:ERROR:LASTING");
    fault.site = site;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) die("VARVE_CRASHLAB_SITES can't be opened");
    int high = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 901);
    if (high < 0) die("VARVE_CRASHLAB_SITES can't be moved to a high descriptor");
    syscall(SYS_close, fd);
    sites = high;
    char program[PATH_SIZE], line[PATH_SIZE + 16];
    ssize_t length = syscall(SYS_readlink, "/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program[length] = 0;
        tell(line, snprintf(line, sizeof line, "program %s\n", program));
    }
    is_looking = 0;
}

__attribute__((destructor)) static void end_faults(void) {
    char line[64];
    for (uint32_t call = 1; call <= CRASH_CALL_ALLOCATE_MEMORY; call++)
        tell(line, snprintf(line, sizeof line, "calls %u %lu\n", call, calls[call]));
}

int is_faulting(void) { return sites >= 0; }

int is_stores_code(void *address) {
    uintptr_t a = (uintptr_t)address;
    return sites >= 0 && !is_looking && (is_in(&own, a) || is_in(&libraries[0], a) || is_in(&libraries[1], a));
}

// MARK: Memory

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);

/// Whether an allocation is one of ours, and fails. A Swift runtime can't go on without memory: what it asks for, it gets. So do the
/// store's libraries: LMDB and GRDB end the process.
static int allocation_fails(void *caller) {
    if (sites < 0 || is_looking || !runtime_is_apart || !is_in(&own, (uintptr_t)caller)) return 0;
    if (fails(CRASH_CALL_ALLOCATE_MEMORY) == CRASH_CALL_SUCCEEDS) return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) { return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_realloc(old, size); }
void *memalign(size_t alignment, size_t size) {
    return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
    return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}
int posix_memalign(void **result, size_t alignment, size_t size) {
    if (allocation_fails(__builtin_return_address(0))) return ENOMEM;
    int before = errno;
    void *memory = __libc_memalign(alignment, size);
    errno = before;
    if (!memory) return ENOMEM;
    *result = memory;
    return 0;
}

// MARK: Reading

/// Fails or shortens where that is asked for, else calls.
#define READING(fd, call, shorter)                                                                                   \
    do {                                                                                                             \
        struct stat status;                                                                                          \
        if (!is_faulting() || !may_be_ours(fd, &status) || !S_ISREG(status.st_mode)) return call;                    \
        char buffer[PATH_SIZE];                                                                                      \
        if (!path_of(fd, buffer)) return call;                                                                       \
        int error = fails(CRASH_CALL_READ);                                                                          \
        if (error == CRASH_CALL_SUCCEEDS) return call;                                                               \
        if (error == CRASH_CALL_IS_SHORT) return shorter;                                                            \
        errno = error;                                                                                               \
        return -1;                                                                                                   \
    } while (0)

ssize_t read(int fd, void *bytes, size_t count) {
    READING(fd, syscall(SYS_read, fd, bytes, count), syscall(SYS_read, fd, bytes, shortened(count)));
}

#define PREAD(name)                                                                                                  \
    ssize_t name(int fd, void *bytes, size_t count, off_t offset) {                                                  \
        READING(fd, syscall(SYS_pread64, fd, bytes, count, offset), syscall(SYS_pread64, fd, bytes, shortened(count), offset)); \
    }
PREAD(pread)
PREAD(pread64)
