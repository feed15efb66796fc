// A table of 8-byte keys and 8-byte values, for a database whose file defines, before it includes this:
//
//     static void dictionary_prepare(const char *dir);
//     static void dictionary_begin(void);                  a transaction that writes
//     static void dictionary_put(uint64_t key, uint64_t value);
//     static void dictionary_commit(void);                 durable when it returns
//     static void dictionary_begin_reading(void);
//     static int dictionary_get(uint64_t key, uint64_t *value);   0 where there is no such key
//     static void dictionary_end_reading(void);
//
// `DictionaryEngine.swift` is the same in Swift: a change belongs in both.
#ifndef VARVE_BENCH_DICTIONARY_H
#define VARVE_BENCH_DICTIONARY_H

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

static uint64_t dictionary_random_state = 1;

/// Scatters: a permutation of the 64-bit words.
static inline uint64_t dictionary_scattered(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static inline uint64_t dictionary_random(void) {
    return dictionary_scattered(dictionary_random_state += 0x9e3779b97f4a7c15);
}

/// The key that was inserted as the `number`th.
static inline uint64_t dictionary_key(uint64_t number) { return dictionary_scattered(number + 1); }

static uint64_t dictionary_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void dictionary_insert(uint64_t from, uint64_t count, uint64_t batch) {
    for (uint64_t done = 0; done < count; done += batch) {
        dictionary_begin();
        for (uint64_t i = 0; i < batch; i++) dictionary_put(dictionary_key(from + done + i), dictionary_random());
        dictionary_commit();
    }
}

static void dictionary_update(uint64_t keys, uint64_t count, uint64_t batch) {
    for (uint64_t done = 0; done < count; done += batch) {
        dictionary_begin();
        for (uint64_t i = 0; i < batch; i++) dictionary_put(dictionary_key(dictionary_random() % keys), dictionary_random());
        dictionary_commit();
    }
}

static void dictionary_look_up(uint64_t keys, uint64_t count, uint64_t batch) {
    for (uint64_t done = 0; done < count; done += batch) {
        dictionary_begin_reading();
        for (uint64_t i = 0; i < batch; i++) {
            uint64_t value;
            if (!dictionary_get(dictionary_key(dictionary_random() % keys), &value)) peer_fail_message("look-up", "no such key");
        }
        dictionary_end_reading();
    }
}

/// Answers each line `insert FROM COUNT BATCH`, `update KEYS COUNT BATCH` or `look-up KEYS COUNT BATCH` with what it took.
int main(int argc, char **argv) {
    char line[128];
    if (argc < 2) peer_fail_message("usage", "PEER DIR");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dictionary_prepare(argv[1]);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
        char what[16];
        uint64_t keys, count, batch;
        if (sscanf(line, "%15s %" SCNu64 " %" SCNu64 " %" SCNu64, what, &keys, &count, &batch) != 4 || !batch)
            peer_fail_message("not understood", line);
        uint64_t start = dictionary_nanoseconds();
        if (!strcmp(what, "insert")) dictionary_insert(keys, count, batch);
        else if (!strcmp(what, "update")) dictionary_update(keys, count, batch);
        else if (!strcmp(what, "look-up")) dictionary_look_up(keys, count, batch);
        else peer_fail_message("not understood", line);
        printf("{\"operations\":%" PRIu64 ",\"nanoseconds\":%" PRIu64 "}\n", count, dictionary_nanoseconds() - start);
        fflush(stdout);
    }
    return 0;
}

#endif
