#define _GNU_SOURCE
#include "CHostMemory.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// Arming a page table flushes translations of all processors that run a thread of the process, table by table: an
// interrupt of another processor each time, 10 to 15 microseconds in a virtual machine. So our own threads that work in
// the background leave their processors meanwhile.

#define THREADS 16

// Thread identifiers; 0 where free.
static int32_t threads[THREADS];
// Whether a thread was sent a signal that it has not answered: real-time signals queue.
static int32_t told[THREADS];
static __thread int own_slot __attribute__((tls_model("initial-exec"))) = -1;
// Scans under way: the companions sleep until there is none.
static int32_t scans;
static int number;

#define LOAD(place) __atomic_load_n(&(place), __ATOMIC_SEQ_CST)
#define STORE(place, value) __atomic_store_n(&(place), value, __ATOMIC_SEQ_CST)
#define ADD(place, value) __atomic_add_fetch(&(place), value, __ATOMIC_SEQ_CST)

// System calls only. Whoever scans takes no lock and no memory meanwhile, so that what the thread holds keeps nobody waiting.
static void sleep_here(int signal_number) {
    (void)signal_number;
    int saved = errno;
    int32_t now;
    if (own_slot >= 0) STORE(told[own_slot], 0);
    while ((now = LOAD(scans)) > 0) syscall(SYS_futex, &scans, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
    errno = saved;
}

// Takes the last real-time signal that nobody handles; another library counts from the first.
static void choose(void) {
    struct sigaction action = {.sa_handler = sleep_here, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    for (int candidate = SIGRTMAX - 1; candidate > SIGRTMIN + 8; candidate--) {
        struct sigaction present;
        if (sigaction(candidate, NULL, &present) < 0 || present.sa_flags & SA_SIGINFO || present.sa_handler != SIG_DFL) continue;
        if (sigaction(candidate, &action, NULL) < 0) continue;
        STORE(number, candidate);
        return;
    }
}

int hm_companion_begin(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    int chosen = LOAD(number);
    if (!chosen) return -1;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, chosen);
    // Else the signals would queue up where the thread was made with all of them blocked.
    pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
    int32_t self = (int32_t)syscall(SYS_gettid);
    for (int slot = 0; slot < THREADS; slot++) {
        int32_t unused = 0;
        if (!__atomic_compare_exchange_n(&threads[slot], &unused, self, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) continue;
        STORE(told[slot], 0);
        own_slot = slot;
        return slot;
    }
    return -1;
}

void hm_companion_end(int slot) {
    if (slot < 0) return;
    own_slot = -1;
    STORE(threads[slot], 0);
}

int hm_companions_stop(void) {
    int chosen = LOAD(number), any = 0;
    if (!chosen) return 0;
    int32_t self = (int32_t)syscall(SYS_gettid);
    for (int slot = 0; slot < THREADS; slot++) {
        int32_t thread = LOAD(threads[slot]);
        if (!thread || thread == self) continue;
        if (!any) {
            // The program may have taken the signal for itself since.
            struct sigaction present;
            if (sigaction(chosen, NULL, &present) < 0 || present.sa_handler != sleep_here) return 0;
            ADD(scans, 1);
            any = 1;
        }
        // A thread that has ended meanwhile is not found; one that has its number since sleeps for a scan.
        if (!__atomic_exchange_n(&told[slot], 1, __ATOMIC_SEQ_CST)) syscall(SYS_tgkill, getpid(), thread, chosen);
    }
    return any;
}

void hm_companions_go(void) {
    if (ADD(scans, -1) == 0) syscall(SYS_futex, &scans, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void hm_companions_forget(void) {
    memset(threads, 0, sizeof threads);
    STORE(scans, 0);
}
