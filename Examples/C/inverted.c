/*
 * inverted STORE FILE...   adds the words of files to an inverted index
 * inverted STORE -w WORD   prints how many lines have a word, and the first of them
 *
 * The index is an ordinary hash table of C, with ordinary pointers: it lies in a heap that is at the same addresses each
 * time, so there is nothing to load, and nothing to save but a commit for each file.
 *
 *     cc -o inverted inverted.c $(pkg-config --cflags --libs varve)
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <varve.h>

enum { BUCKETS = 4096 };

struct word {
    struct word *next;
    uint64_t lines;       /* lines that it stands in */
    uint64_t first_line;  /* the first of them, over all files */
    uint64_t last_line;
    char text[];
};

struct index {
    uint64_t words;
    uint64_t lines;
    struct word *buckets[BUCKETS];
};

static varve_heap_t heap;

static void check(int code) {
    if (code == 0) return;
    fprintf(stderr, "inverted: %s\n", varve_last_error()->text);
    exit(1);
}

static struct word **place_of(struct index *index, const char *text) {
    uint64_t hash = 14695981039346656037u;
    for (const char *at = text; *at; at++) hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    struct word **place = &index->buckets[hash % BUCKETS];
    while (*place && strcmp((*place)->text, text) != 0) place = &(*place)->next;
    return place;
}

static void add_word(struct index *index, const char *text) {
    struct word **place = place_of(index, text);
    if (!*place) {
        struct word *word = varve_heap_alloc(heap, sizeof *word + strlen(text) + 1);
        if (!word) check(varve_last_error()->code);
        *word = (struct word){.first_line = index->lines};
        strcpy(word->text, text);
        *place = word;
        index->words++;
    }
    struct word *word = *place;
    if (word->lines && word->last_line == index->lines) return;
    word->last_line = index->lines;
    word->lines++;
}

static void add_file(struct index *index, const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        exit(1);
    }
    char text[256];
    size_t length = 0;
    index->lines++;
    for (int byte; (byte = getc(file)) != EOF;) {
        if (isalpha(byte)) {
            if (length < sizeof text - 1) text[length++] = (char)tolower(byte);
            continue;
        }
        text[length] = 0;
        if (length) add_word(index, text);
        length = 0;
        if (byte == '\n') index->lines++;
    }
    text[length] = 0;
    if (length) add_word(index, text);
    fclose(file);
    /* All of the file's words or, whatever happens before this line, none. */
    check(varve_heap_commit(heap, path, 0, NULL, NULL));
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: inverted STORE FILE...\n       inverted STORE -w WORD\n");
        return 64;
    }
    struct index *index;
    check(varve_heap_open(arguments[1], 0, &heap));
    check(varve_heap_root(heap, "index", "struct index", 1, sizeof *index, &index));
    if (strcmp(arguments[2], "-w") == 0 && count == 4) {
        struct word *word = *place_of(index, arguments[3]);
        printf("%lu %lu\n", word ? word->lines : 0, word ? word->first_line : 0);
    } else {
        for (int file = 2; file < count; file++) add_file(index, arguments[file]);
        printf("%lu words in %lu lines\n", index->words, index->lines);
    }
    check(varve_heap_close(heap));
}
