// The allocation mixes, for an allocator whose file defines, before it includes this:
//
//     typedef … block;                                  what an allocation is to it
//     static void heap_prepare(const char *dir);
//     static inline void block_allocate(block *, size_t size);   fails with peer_fail_message
//     static inline void block_free(block *);
//     static inline void *block_memory(const block *);
//
// `AllocationMix.swift` is the same in Swift: a change belongs in both.
#ifndef VARVE_BENCH_ALLOCATION_H
#define VARVE_BENCH_ALLOCATION_H

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define LARSON_SLOTS 1000
#define HEAVY_BLOCKS 10000
#define MIXED_SLOTS 1000

struct allocation_mix {
    char name[16];
    uint64_t operations;
    uint64_t seed;
};

static inline uint64_t mix_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/// An allocation whose first word is stored to, as nobody allocates for less.
static inline void mix_allocate(block *slot, size_t size, uint64_t value) {
    block_allocate(slot, size);
    *(uint64_t *)block_memory(slot) = value;
}

/// Replaces blocks of 16 to 512 bytes at random (Larson and Krishnan, ISMM 1998).
static void mix_larson(uint64_t operations, uint64_t random) {
    static __thread block slots[LARSON_SLOTS];
    for (int i = 0; i < LARSON_SLOTS; i++) mix_allocate(&slots[i], 16 + mix_random(&random) % 497, random);
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t r = mix_random(&random);
        block *slot = &slots[r % LARSON_SLOTS];
        block_free(slot);
        mix_allocate(slot, 16 + (r >> 32) % 497, r);
    }
    for (int i = 0; i < LARSON_SLOTS; i++) block_free(&slots[i]);
}

/// Allocates ten thousand blocks of 16 to 64 bytes, frees them in that order, and again.
static void mix_heavy(uint64_t operations, uint64_t random) {
    static __thread block blocks[HEAVY_BLOCKS];
    for (uint64_t done = 0; done < operations; done += HEAVY_BLOCKS) {
        uint64_t count = operations - done < HEAVY_BLOCKS ? operations - done : HEAVY_BLOCKS;
        for (uint64_t i = 0; i < count; i++) mix_allocate(&blocks[i], 16 + mix_random(&random) % 49, random);
        for (uint64_t i = 0; i < count; i++) block_free(&blocks[i]);
    }
}

/// Replaces blocks of 16 bytes to 64 KiB at random, as many of each power of two.
static void mix_mixed(uint64_t operations, uint64_t random) {
    static __thread block slots[MIXED_SLOTS];
    for (int i = 0; i < MIXED_SLOTS; i++) mix_allocate(&slots[i], 16, random);
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t r = mix_random(&random);
        block *slot = &slots[r % MIXED_SLOTS];
        size_t size = (size_t)16 << ((r >> 16) % 12);
        block_free(slot);
        mix_allocate(slot, size + (r >> 32) % size, r);
    }
    for (int i = 0; i < MIXED_SLOTS; i++) block_free(&slots[i]);
}

static void *mix_thread(void *argument) {
    const struct allocation_mix *mix = (const struct allocation_mix *)argument;
    if (!strcmp(mix->name, "larson")) mix_larson(mix->operations, mix->seed);
    else if (!strcmp(mix->name, "heavy")) mix_heavy(mix->operations, mix->seed);
    else if (!strcmp(mix->name, "mixed")) mix_mixed(mix->operations, mix->seed);
    else peer_fail_message("no such mix", mix->name);
    return NULL;
}

static uint64_t mix_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/// Answers each line `MIX THREADS OPERATIONS` (of each thread) with what it took.
int main(int argc, char **argv) {
    char line[128];
    if (argc < 2) peer_fail_message("usage", "PEER DIR");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    heap_prepare(argv[1]);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
        struct allocation_mix mix[16];
        unsigned threads;
        if (sscanf(line, "%15s %u %" SCNu64, mix[0].name, &threads, &mix[0].operations) != 3 || !threads || threads > 16)
            peer_fail_message("not understood", line);
        pthread_t thread[16];
        uint64_t start = mix_nanoseconds();
        for (unsigned i = 0; i < threads; i++) {
            mix[i] = mix[0];
            mix[i].seed = i + 1;
            if (pthread_create(&thread[i], NULL, mix_thread, &mix[i])) peer_fail_message("pthread_create", "failed");
        }
        for (unsigned i = 0; i < threads; i++) pthread_join(thread[i], NULL);
        printf("{\"operations\":%" PRIu64 ",\"nanoseconds\":%" PRIu64 "}\n", mix[0].operations * threads, mix_nanoseconds() - start);
        fflush(stdout);
    }
    return 0;
}

#endif
