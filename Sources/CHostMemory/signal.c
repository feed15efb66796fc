#define _GNU_SOURCE
#include "CHostMemory.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define PAGE_SHIFT 12
#define DEFAULT_PROTECTION (PROT_READ | PROT_WRITE)
#define SLOTS 255

_Static_assert(sizeof(sigset_t) <= 128, "callers keep 128 bytes");

// The registry: chunks that are only ever added. Slots are set and cleared under `adding`, read without it.
struct chunk {
    struct hm_tracked *slots[SLOTS];
    struct chunk *next;
};
static struct chunk first;
static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction earlier;
static int started;
static int64_t limit;
// Openings not yet taken back, of all ranges together.
static int64_t openings;
// Handlers that may hold a pointer from the registry.
static int64_t in_flight;
// Ranges that accesses wait for.
static int64_t held;
// Removals of ranges that accesses waited for.
static uint64_t removals;

#define LOAD(place) __atomic_load_n(&(place), __ATOMIC_SEQ_CST)
#define STORE(place, value) __atomic_store_n(&(place), value, __ATOMIC_SEQ_CST)
#define ADD(place, value) __atomic_fetch_add(&(place), value, __ATOMIC_SEQ_CST)

// A range that accesses wait for comes before one that tracks stores in it.
static struct hm_tracked *find(uint64_t address) {
    struct hm_tracked *found = NULL;
    for (struct chunk *chunk = &first; chunk; chunk = LOAD(chunk->next)) {
        for (int i = 0; i < SLOTS; i++) {
            struct hm_tracked *range = LOAD(chunk->slots[i]);
            if (!range || address < range->base) continue;
            uint64_t page = (address - range->base) >> PAGE_SHIFT;
            if (page >= range->page_count) continue;
            if (!range->protection) return range;
            if (!found && LOAD(range->protection[page]) != HM_UNTRACKED) found = range;
            if (found && !LOAD(held)) return found;
        }
    }
    return found;
}

// The range of an address. One without protections is waited for until it is unlocked: whoever waits holds no pointer
// meanwhile, so that its holder may remove other ranges.
static struct hm_tracked *find_open(uint64_t address) {
    for (;;) {
        struct hm_tracked *range = find(address);
        if (!range || range->protection || !LOAD(range->locked)) return range;
        ADD(in_flight, -1);
        sched_yield();
        ADD(in_flight, 1);
    }
}

// Whether an access is to be repeated that no range explains: one that came before a range was removed is legal now. Once
// a removal and thread.
static int is_repeated(void) {
    static __thread uint64_t seen __attribute__((tls_model("initial-exec")));
    uint64_t now = LOAD(removals);
    if (seen == now) return 0;
    seen = now;
    return 1;
}

static int allowed(const struct hm_tracked *range, uint64_t page) {
    int bits = LOAD(range->protection[page]);
    return bits == HM_UNTRACKED ? PROT_NONE : bits ^ DEFAULT_PROTECTION;
}

// Marks [start, end), then lets stores in. Bits first: under the shared lock, writable implies marked.
static int open_pages(struct hm_tracked *range, uint64_t start, uint64_t end, int protection) {
    for (uint64_t page = start; page < end; page++)
        __atomic_fetch_or(&range->dirty[page / 64], 1ULL << (page % 64), __ATOMIC_SEQ_CST);
    return mprotect((void *)(range->base + (start << PAGE_SHIFT)), (end - start) << PAGE_SHIFT, protection);
}

// Opens `page`; beyond the limit of openings its 2 MiB run, as far as it is allowed the same.
static int open_around(struct hm_tracked *range, uint64_t page) {
    int protection = allowed(range, page);
    if (!(protection & PROT_WRITE)) return 0;
    ADD(range->openings, 1);
    if (ADD(openings, 1) < limit && open_pages(range, page, page + 1, protection) == 0) return 1;
    uint64_t number = (range->base >> PAGE_SHIFT) + page;
    uint64_t low = number & 511, high = 512 - low;
    uint64_t start = page - (low < page ? low : page);
    uint64_t end = page + high < range->page_count ? page + high : range->page_count;
    for (uint64_t p = page; p-- > start;)
        if (allowed(range, p) != protection) start = p + 1;
    for (uint64_t p = page + 1; p < end; p++)
        if (allowed(range, p) != protection) end = p;
    return open_pages(range, start, end, protection) == 0;
}

static int open_fault(uint64_t address) {
    struct hm_tracked *range = find_open(address);
    if (!range) return is_repeated();
    if (!range->protection) return 1;
    for (;;) {
        ADD(range->handlers, 1);
        if (!LOAD(range->locked)) break;
        ADD(range->handlers, -1);
        while (LOAD(range->locked)) sched_yield();
    }
    int opened = open_around(range, (address - range->base) >> PAGE_SHIFT);
    ADD(range->handlers, -1);
    // A load that waited for nobody may have come before what is mapped there now, too.
    return opened || is_repeated();
}

static int is_fetch(const void *context, const siginfo_t *info) {
#if defined(__x86_64__)
    (void)info;
    return (((const ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 0x10) != 0;
#elif defined(__aarch64__)
    return ((const ucontext_t *)context)->uc_mcontext.pc == (uint64_t)info->si_addr;
#else
    (void)context, (void)info;
    return 0;
#endif
}

// Hands a fault that isn't ours to whoever was there before.
static void chain(int number, siginfo_t *info, void *context) {
    int is_function = (earlier.sa_flags & SA_SIGINFO)
        || (earlier.sa_handler != SIG_DFL && earlier.sa_handler != SIG_IGN);
    if (!is_function) {
        // The access is repeated under the default action; a signal that was sent is sent again.
        struct sigaction action = {.sa_handler = SIG_DFL};
        sigaction(number, &action, NULL);
        if (info->si_code <= 0) raise(number);
        return;
    }
    sigset_t mask = earlier.sa_mask, saved;
    pthread_sigmask(SIG_BLOCK, &mask, &saved);
    if (earlier.sa_flags & SA_NODEFER) {
        sigemptyset(&mask);
        sigaddset(&mask, number);
        pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
    }
    if (earlier.sa_flags & SA_SIGINFO) earlier.sa_sigaction(number, info, context);
    else earlier.sa_handler(number);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
}

static void on_fault(int number, siginfo_t *info, void *context) {
    int saved = errno;
    ADD(in_flight, 1);
    int opened = info->si_code == SEGV_ACCERR && !hm_is_forked_child() && !is_fetch(context, info)
        && open_fault((uint64_t)info->si_addr);
    ADD(in_flight, -1);
    if (!opened) chain(number, info, context);
    errno = saved;
}

int hm_track_start(int64_t opening_limit) {
    pthread_mutex_lock(&adding);
    int result = 0;
    limit = opening_limit;
    if (!started) {
        struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        sigemptyset(&action.sa_mask);
        if (sigaction(SIGSEGV, NULL, &earlier) < 0 || sigaction(SIGSEGV, &action, NULL) < 0) result = -errno;
        else started = 1;
    }
    pthread_mutex_unlock(&adding);
    return result;
}

int hm_track_add(struct hm_tracked *range) {
    int result = 0;
    pthread_mutex_lock(&adding);
    if (!range->protection) ADD(held, 1);
    for (struct chunk *chunk = &first;; chunk = chunk->next) {
        for (int i = 0; i < SLOTS; i++) {
            if (chunk->slots[i]) continue;
            STORE(chunk->slots[i], range);
            goto done;
        }
        if (chunk->next) continue;
        struct chunk *added = calloc(1, sizeof *added);
        if (!added) {
            if (!range->protection) ADD(held, -1);
            result = -ENOMEM;
            goto done;
        }
        STORE(chunk->next, added);
    }
done:
    pthread_mutex_unlock(&adding);
    // Who looked before the range was there may hold another one for the same address; who looks from now on waits.
    if (!range->protection && result == 0)
        while (LOAD(in_flight)) sched_yield();
    return result;
}

void hm_track_remove(struct hm_tracked *range) {
    // Counted first: a handler that finds no range sees it.
    if (!range->protection) ADD(removals, 1);
    int was_held = !range->protection;
    pthread_mutex_lock(&adding);
    for (struct chunk *chunk = &first; chunk; chunk = chunk->next)
        for (int i = 0; i < SLOTS; i++)
            if (chunk->slots[i] == range) STORE(chunk->slots[i], NULL);
    if (was_held) ADD(held, -1);
    pthread_mutex_unlock(&adding);
    while (LOAD(in_flight)) sched_yield();
    ADD(openings, -(int64_t)range->openings);
}

void hm_track_lock(struct hm_tracked *range, void *saved) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, saved);
    STORE(range->locked, 1);
    while (LOAD(range->handlers)) sched_yield();
}

void hm_track_unlock(struct hm_tracked *range, const void *saved) {
    STORE(range->locked, 0);
    pthread_sigmask(SIG_SETMASK, saved, NULL);
}

void hm_track_closed(struct hm_tracked *range, int64_t pages) {
    int32_t count = pages < range->openings ? (int32_t)pages : range->openings;
    ADD(openings, -(int64_t)count);
    range->openings -= count;
}
