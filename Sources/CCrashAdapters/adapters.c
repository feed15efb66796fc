#define _GNU_SOURCE
#include "crash_adapters.h"
#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char sentence[512];
/// Whether the last sentence was the store's own.
static int was_refused;

static const char *set_sentence(const char *format, va_list arguments, int is_refusal) {
    vsnprintf(sentence, sizeof sentence, format, arguments);
    for (char *p = sentence; *p; p++)
        if (*p == '\n') *p = ' ';
    was_refused = is_refusal;
    return sentence;
}

#define SENTENCE(name, is_refusal)                                                                                   \
    const char *name(const char *format, ...) {                                                                      \
        va_list arguments;                                                                                           \
        va_start(arguments, format);                                                                                 \
        const char *result = set_sentence(format, arguments, is_refusal);                                            \
        va_end(arguments);                                                                                           \
        return result;                                                                                               \
    }
SENTENCE(failure, 0)
SENTENCE(refusal, 1)

static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void model_begin(struct model *model, uint64_t seed) {
    memset(model, 0, sizeof *model);
    model->random = seed;
}

void model_next(struct model *model, unsigned char changed[KEYS]) {
    memset(changed, 0, KEYS);
    model->done++;
    for (int i = 1 + (int)(next_random(&model->random) % 8); i > 0; i--) {
        int key = (int)(next_random(&model->random) % KEYS);
        changed[key] = 1;
        model->writer[key] = next_random(&model->random) % 5 == 0 ? 0 : (uint64_t)model->done;
    }
}

size_t model_value(uint64_t seed, int key, uint64_t writer, unsigned char *bytes) {
    uint64_t state = seed ^ (uint64_t)key << 32 ^ writer;
    size_t length = 16 + next_random(&state) % (next_random(&state) % 4 == 0 ? LARGEST_VALUE - 16 : 300);
    memset(bytes, (int)(next_random(&state) & 255), length);
    memcpy(bytes, &writer, 8);
    memcpy(bytes + length - 8, &state, 8);
    return length;
}

static const struct kind *const families[] = {lmdb_kinds, sqlite_kinds, plain_kinds, NULL};

static const struct kind *find(const char *name) {
    for (const struct kind *const *family = families; *family; family++)
        for (const struct kind *kind = *family; kind->name; kind++)
            if (strcmp(kind->name, name) == 0) return kind;
    return NULL;
}

const char *crash_adapter_name(int number) {
    for (const struct kind *const *family = families; *family; family++)
        for (const struct kind *kind = *family; kind->name; kind++)
            if (number-- == 0) return kind->name;
    return NULL;
}

static int complain(const char *problem) {
    fprintf(stderr, "%s\n", problem);
    return 66;
}

static int say(const char *format, int number) {
    char line[64];
    int length = snprintf(line, sizeof line, format, number);
    return write(1, line, (size_t)length) == length ? 0 : 65;
}

static int work(const struct kind *kind, const char *folder, uint64_t seed) {
    struct model model;
    unsigned char changed[KEYS];
    void *store;
    const char *problem = kind->create(folder, kind->variant);
    if (!problem) problem = kind->open(folder, kind->variant, &store);
    if (problem) return complain(problem);
    model_begin(&model, seed);
    while (model.done < TRANSACTIONS) {
        model_next(&model, changed);
        if ((problem = kind->commit(store, &model, seed, changed))) return complain(problem);
        if (say("%d\n", model.done)) return 65;
    }
    kind->close(store);
    return 0;
}

static int is_there(const struct kind *kind, const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, kind->path);
    return access(path, F_OK) == 0;
}

static int recover(const struct kind *kind, const char *folder) {
    uint64_t found[KEYS];
    void *store;
    if (!is_there(kind, folder)) return 0;
    const char *problem = kind->open(folder, kind->variant, &store);
    if (problem) return complain(problem);
    // Reading rolls back what an interrupted transaction left; a seed of no matter, as the answer is none.
    kind->read(store, 0, found);
    kind->close(store);
    return 0;
}

static const char *check(const struct kind *kind, const char *folder, uint64_t seed, int acknowledged) {
    uint64_t found[KEYS];
    unsigned char changed[KEYS];
    struct model model;
    void *store;
    if (!is_there(kind, folder)) return acknowledged ? "the store is gone" : NULL;
    const char *problem = kind->open(folder, kind->variant, &store);
    if (problem) return problem;
    problem = kind->read(store, seed, found);
    kind->close(store);
    if (problem) return problem;
    model_begin(&model, seed);
    while (model.done < acknowledged) model_next(&model, changed);
    if (memcmp(model.writer, found, sizeof found) == 0) return NULL;
    if (acknowledged < TRANSACTIONS) model_next(&model, changed);
    if (memcmp(model.writer, found, sizeof found) == 0) return NULL;
    model_begin(&model, seed);
    for (int before = 0; before < acknowledged; before++) {
        if (memcmp(model.writer, found, sizeof found) == 0)
            return failure("transaction %d is the last, and %d was acknowledged", before, acknowledged);
        model_next(&model, changed);
    }
    return failure("a mixture of transactions, of which %d were acknowledged", acknowledged);
}

/// `inspects`: what the store itself says is told apart.
static int serve(const struct kind *kind, int inspects) {
    char line[8192], folder[4096];
    while (fgets(line, sizeof line, stdin)) {
        unsigned long long seed;
        int count, last = 0;
        if (sscanf(line, "%4095s %llu %d", folder, &seed, &count) != 3) return 64;
        for (int i = 0; i < count; i++) {
            if (!fgets(line, sizeof line, stdin)) return 64;
            last = atoi(line);
        }
        alarm(60);
        const char *problem = check(kind, folder, seed, last);
        printf("%s%s\n", problem && inspects && was_refused ? "refused: " : "", problem ? problem : "ok");
        fflush(stdout);
    }
    return 0;
}

int crash_adapter_run(const char *store, int count, const char *const *arguments) {
    const struct kind *kind = find(store);
    if (!kind || count < 1) return 64;
    if (strcmp(arguments[0], "work") == 0 && count == 3) return work(kind, arguments[1], strtoull(arguments[2], NULL, 10));
    if (strcmp(arguments[0], "recover") == 0 && count == 2) return recover(kind, arguments[1]);
    if (strcmp(arguments[0], "check") == 0 && count == 1) return serve(kind, 0);
    if (strcmp(arguments[0], "inspect") == 0 && count == 1) return serve(kind, 1);
    if (strcmp(arguments[0], "serve") == 0 && count == 1) return crash_serve_store(store);
    return 64;
}
