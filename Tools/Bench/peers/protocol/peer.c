#include "peer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

static uint64_t random_state;

static uint64_t next_random(void) {
    uint64_t z = (random_state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void peer_fill(uint8_t *bytes, size_t length) {
    for (size_t at = 0; at + sizeof(uint64_t) <= length; at += sizeof(uint64_t)) {
        uint64_t word = next_random();
        memcpy(bytes + at, &word, sizeof word);
    }
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/// Draws one page out of `pages`.
typedef uint32_t draw(uint32_t pages);

static double random_unit(void) { return (double)(next_random() >> 11) * 0x1p-53; }

/// Nine in ten from one contiguous 64th of the object, the rest from all of it.
static uint32_t draw_hot(uint32_t pages) {
    uint32_t hot = pages / 64 ? pages / 64 : 1;
    return (uint32_t)(next_random() % (next_random() % 10 ? hot : pages));
}

/// Zipf's law with exponent 0.99 over the pages, the frequent ones scattered (Gray et al., SIGMOD 1994).
static uint32_t draw_zipf(uint32_t pages) {
    const double theta = 0.99;
    static uint32_t known_pages;
    static double zeta, eta;
    if (known_pages != pages) {
        zeta = 0;
        for (uint32_t i = 1; i <= pages; i++) zeta += pow(i, -theta);
        eta = (1 - pow(2.0 / pages, 1 - theta)) / (1 - (1 + pow(0.5, theta)) / zeta);
        known_pages = pages;
    }
    double u = random_unit(), rank;
    if (u * zeta < 1) rank = 0;
    else if (u * zeta < 1 + pow(0.5, theta)) rank = 1;
    else rank = pages * pow(eta * u - eta + 1, 1 / (1 - theta));
    uint64_t whole = rank < pages ? (uint64_t)rank : pages - 1;
    // A multiplier that has no divisor in common with the number of pages permutes them; this one is a prime.
    return (uint32_t)(whole * 2654435761u % pages);
}

/// `count` distinct pages by repeated drawing; Floyd's choice, uniform over the object, where `draw` is NULL.
static void choose_pages(uint32_t *page, uint32_t count, uint32_t pages, uint8_t *taken, draw *draw) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t last = pages - count + i, candidate;
        if (draw) {
            do candidate = draw(pages);
            while (taken[candidate]);
        } else {
            candidate = (uint32_t)(next_random() % ((uint64_t)last + 1));
            if (taken[candidate]) candidate = last;
        }
        taken[candidate] = 1;
        page[i] = candidate;
    }
    for (uint32_t i = 0; i < count; i++) taken[page[i]] = 0;
    qsort(page, count, sizeof *page, ascending);
}

/// What this process has caused to be sent to the disk, its threads included.
static uint64_t bytes_written(void) {
    char line[128];
    uint64_t bytes = 0;
    FILE *io = fopen("/proc/self/io", "re");
    if (!io) peer_fail("/proc/self/io", 0);
    while (fgets(line, sizeof line, io))
        if (sscanf(line, "write_bytes: %" SCNu64, &bytes) == 1) break;
    fclose(io);
    return bytes;
}

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void run(
    const struct peer_engine *engine, uint32_t count, uint32_t commits, uint32_t pages, uint8_t *taken, draw *draw) {
    uint32_t *page = malloc(count * sizeof *page);
    uint64_t *latency = malloc(commits * sizeof *latency);
    if (!page || !latency) peer_fail("malloc", 0);
    uint8_t *content = peer_buffer((size_t)count * PEER_PAGE_BYTES);

    uint64_t written = bytes_written();
    for (uint32_t i = 0; i < commits; i++) {
        choose_pages(page, count, pages, taken, draw);
        peer_fill(content, (size_t)count * PEER_PAGE_BYTES);
        uint64_t start = nanoseconds();
        engine->commit(engine->context, page, content, count);
        latency[i] = nanoseconds() - start;
    }
    written = bytes_written() - written;

    printf("{\"latencies_ns\":[");
    for (uint32_t i = 0; i < commits; i++) printf(i ? ",%" PRIu64 : "%" PRIu64, latency[i]);
    printf("],\"bytes_written\":%" PRIu64 "}\n", written);
    free(page);
    free(latency);
    free(content);
}

int peer_main(const struct peer_engine *engine, const char *dir, uint64_t object_bytes, uint64_t seed) {
    char line[128];
    uint32_t pages = (uint32_t)(object_bytes / PEER_PAGE_BYTES);
    uint8_t *taken = calloc(pages, 1);
    if (!taken) peer_fail("calloc", 0);
    random_state = seed;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);

    engine->prepare(engine->context, dir, pages);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
        uint32_t count, commits;
        char choice[16] = "uniform";
        if (sscanf(line, "run %" SCNu32 " %" SCNu32 " %15s", &count, &commits, choice) < 2 || !count || count > pages || !commits)
            peer_fail_message("not understood", line);
        draw *draw = NULL;
        if (!strcmp(choice, "zipf")) draw = draw_zipf;
        else if (!strcmp(choice, "hot")) draw = draw_hot;
        else if (strcmp(choice, "uniform")) peer_fail_message("not understood", line);
        run(engine, count, commits, pages, taken, draw);
        fflush(stdout);
    }
    engine->finish(engine->context);
    free(taken);
    return 0;
}

int peer_main_arguments(const struct peer_engine *engine, int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s DIR OBJECT_BYTES SEED\n", argv[0]);
        return 64;
    }
    return peer_main(engine, argv[1], strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
}
