#define _GNU_SOURCE
#include "CHostMemory.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct hm_fork_step *steps;
static long step_count;
static void (*tell_child)(void);

// Runs in the child before anything else of ours: system calls only, no lock and no memory of the heap's.
static void in_child(void) {
    for (long i = 0; i < step_count; i++) {
        const struct hm_fork_step *step = &steps[i];
        void *target = (void *)step->address;
        switch (step->kind) {
        case HM_FORK_MOVE:
            if (mremap((void *)step->source, step->length, step->length, MREMAP_MAYMOVE | MREMAP_FIXED, target) == MAP_FAILED)
                munmap((void *)step->source, step->length);
            else
                mprotect(target, step->length, step->protection);
            break;
        case HM_FORK_PROTECT: mprotect(target, step->length, step->protection); break;
        case HM_FORK_CLOSE: close(step->descriptor); break;
        }
    }
    // A child of this one gets what this one has.
    step_count = 0;
    hm_companions_forget();
    tell_child();
}

int hm_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
    tell_child = child;
    return -pthread_atfork(prepare, parent, in_child);
}

void hm_fork_steps(const struct hm_fork_step *new_steps, long count) {
    steps = new_steps;
    step_count = count;
}
