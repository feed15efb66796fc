#ifndef CPERSISTENTHEAP_H
#define CPERSISTENTHEAP_H

#include <stdbool.h>
#include <stdint.h>

/* What Swift has no words for: thread-local variables, barriers on behalf of other threads, and plain words that other
   threads look at. */

/* One thread's part in one heap. Its caches follow it in memory. */
struct ph_record {
    /* Names the heap; 0 once the heap is closed. Written by others under the lock of all records. */
    uint64_t heap;
    /* How many changes of this thread are under way, one within the other. Written by this thread alone. */
    uint32_t busy;
    /* Not 0: another thread excludes changes. Written by others. */
    uint32_t stop;
    /* Not 0: the thread changes a word of the bitmap, atomically or not. Written by this thread alone. */
    uint32_t marking;
    /* The thread's next record. */
    struct ph_record *next;
    /* The heap's space, unretained; valid while `heap` is not 0. */
    const void *space;
};

/* The thread's records; the one that was used last is the first. */
extern __thread struct ph_record *ph_records;
/* Set once, before the first record: the host has no membarrier, so that each change pays a fence. */
extern bool ph_fences;

static inline struct ph_record *ph_first(void) { return ph_records; }
static inline void ph_set_first(struct ph_record *record) { ph_records = record; }

/* A number of the calling thread that no other has or had, unlike a pthread_t. Never 0. */
uint64_t ph_thread(void);

static inline uint64_t ph_heap(const struct ph_record *record) {
    return __atomic_load_n(&record->heap, __ATOMIC_RELAXED);
}
static inline void ph_set_heap(struct ph_record *record, uint64_t heap) {
    __atomic_store_n(&record->heap, heap, __ATOMIC_RELAXED);
}

/* Begins a change. True: it may go on; false: somebody excludes changes, and it must be left and waited for. */
static inline bool ph_enter(struct ph_record *record) {
    uint32_t depth = record->busy;
    __atomic_store_n(&record->busy, depth + 1, __ATOMIC_RELAXED);
    /* The order against `stop` is the excluding thread's matter: ph_barrier_all. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__builtin_expect(ph_fences, 0)) __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return depth != 0 || __atomic_load_n(&record->stop, __ATOMIC_ACQUIRE) == 0;
}

static inline void ph_leave(struct ph_record *record) {
    __atomic_store_n(&record->busy, record->busy - 1, __ATOMIC_RELEASE);
}

static inline bool ph_is_busy(const struct ph_record *record) {
    return __atomic_load_n(&record->busy, __ATOMIC_ACQUIRE) != 0;
}
static inline void ph_set_stop(struct ph_record *record, uint32_t stop) {
    __atomic_store_n(&record->stop, stop, __ATOMIC_RELEASE);
}

/* Begins and ends a change of one word of the bitmap: what waits for it never waits long. */
static inline void ph_begin_mark(struct ph_record *record) {
    __atomic_store_n(&record->marking, 1, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__builtin_expect(ph_fences, 0)) __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
static inline void ph_end_mark(struct ph_record *record) { __atomic_store_n(&record->marking, 0, __ATOMIC_RELEASE); }
static inline bool ph_is_marking(const struct ph_record *record) {
    return __atomic_load_n(&record->marking, __ATOMIC_ACQUIRE) != 0;
}

/* Sets or clears bits of a word that other threads change too; the word as it was. */
static inline uint64_t ph_fetch_or(uint64_t *word, uint64_t bits) {
    return __atomic_fetch_or(word, bits, __ATOMIC_RELAXED);
}
static inline uint64_t ph_fetch_clear(uint64_t *word, uint64_t bits) {
    return __atomic_fetch_and(word, ~bits, __ATOMIC_RELAXED);
}
static inline void ph_release_fence(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }

/* Sets `ph_fences` where the host has no membarrier. Once, before the first record. */
void ph_prepare(void);
/* Afterwards every thread has seen what this one stored before, and this one sees what they did. */
void ph_barrier_all(void);

#endif
