#include "CPersistentHeap.h"

#include <sys/syscall.h>
#include <unistd.h>

/* linux/membarrier.h */
enum { PH_QUERY = 0, PH_GLOBAL = 1 << 0, PH_PRIVATE_EXPEDITED = 1 << 3, PH_REGISTER_PRIVATE_EXPEDITED = 1 << 4 };

static long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

__thread struct ph_record *ph_records;
bool ph_fences;

uint64_t ph_thread(void) {
    static uint64_t last;
    static __thread uint64_t number;
    if (number == 0) number = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
    return number;
}

void ph_prepare(void) {
    const long needed = PH_GLOBAL | PH_PRIVATE_EXPEDITED;
    const long known = membarrier(PH_QUERY);
    if (known < 0 || (known & needed) != needed) ph_fences = true;
}

void ph_barrier_all(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (ph_fences || membarrier(PH_PRIVATE_EXPEDITED) == 0) return;
    /* Not registered yet: that waits for a grace period, milliseconds, which one thread alone never needs to. */
    if (membarrier(PH_REGISTER_PRIVATE_EXPEDITED) == 0 && membarrier(PH_PRIVATE_EXPEDITED) == 0) return;
    membarrier(PH_GLOBAL);
}
