/* Persistent heaps: blocks, roots, commits. */
#include <pthread.h>

#include "check.h"

#include <stdlib.h>

enum { CAPACITY = 1 << 24 };

static varve_heap_t heap;

static void open_heap(void) { OK(varve_heap_open_in(store, "h", CAPACITY, &heap)); }

static void reopen_heap(void) {
    OK(varve_heap_close(heap));
    reopen();
    open_heap();
}

static varve_heap_info_t heap_info(varve_heap_t of) {
    varve_heap_info_t info = {.size = sizeof info};
    OK(varve_heap_info(of, &info));
    return info;
}

struct node {
    struct node *next;
    int64_t value;
};

TEST(pointers_and_numbers_outlive_the_process) {
    open_heap();
    struct node **first = NULL;
    int64_t *count = NULL;
    OK(varve_heap_root(heap, "list", "struct node *", 1, sizeof *first, &first));
    OK(varve_heap_root(heap, "count", "int64_t", 1, sizeof *count, &count));
    CHECK(*first == NULL && *count == 0);
    for (int value = 1; value <= 100; value++) {
        struct node *node = varve_heap_alloc(heap, sizeof *node);
        CHECK(node != NULL && (uintptr_t)node % 16 == 0);
        *node = (struct node){.next = *first, .value = value};
        *first = node;
        *count += 1;
    }
    uint64_t version = 0;
    OK(varve_heap_commit(heap, "list", 0, "hundred", &version));
    CHECK(version > 0);
    struct node *was = *first;
    *count = 0;
    reopen_heap();
    OK(varve_heap_root(heap, "list", "struct node *", 1, sizeof *first, &first));
    OK(varve_heap_root(heap, "count", "int64_t", 1, sizeof *count, &count));
    CHECK(*first == was && *count == 100);
    int64_t sum = 0;
    for (struct node *node = *first; node; node = node->next) sum += node->value;
    CHECK(sum == 5050);
    OK(varve_heap_close(heap));
}

TEST(blocks) {
    open_heap();
    unsigned char *block = varve_heap_alloc(heap, 100);
    uint64_t usable = 0;
    OK(varve_heap_usable_size(heap, block, &usable));
    CHECK(usable >= 100 && usable < 200);
    memset(block, 7, 100);
    block = varve_heap_realloc(heap, block, 100000);
    CHECK(block != NULL && block[0] == 7 && block[99] == 7);
    OK(varve_heap_usable_size(heap, block, &usable));
    CHECK(usable >= 100000);
    OK(varve_heap_free(heap, block));
    EXPECT(VARVE_NOT_ALLOCATED, varve_heap_free(heap, block));
    EXPECT(VARVE_NOT_ALLOCATED, varve_heap_free(heap, &usable));
    EXPECT(VARVE_NOT_ALLOCATED, varve_heap_usable_size(heap, block, &usable));
    OK(varve_heap_free(heap, NULL));
    unsigned char *aligned = varve_heap_alloc_aligned(heap, 10, 4096);
    CHECK((uintptr_t)aligned % 4096 == 0);
    OK(varve_heap_free(heap, aligned));
    CHECK(varve_heap_alloc_aligned(heap, 10, 3) == NULL && varve_last_error()->code == VARVE_INVALID);
    CHECK(varve_heap_alloc(heap, CAPACITY) == NULL && varve_last_error()->code == VARVE_FULL);
    CHECK(varve_heap_alloc(heap, UINT64_MAX) == NULL && varve_last_error()->code == VARVE_FULL);
    unsigned char *empty = varve_heap_realloc(heap, NULL, 0);
    CHECK(empty != NULL);
    OK(varve_heap_free(heap, empty));
    OK(varve_heap_close(heap));
}

TEST(a_full_heap_says_so_and_goes_on) {
    varve_heap_t small = NULL;
    OK(varve_heap_open_in(store, "small", 1 << 20, &small));
    void *blocks[64], *more;
    int count = 0;
    while (count < 64 && (more = varve_heap_alloc(small, 65536))) blocks[count++] = more;
    CHECK(count > 8 && count < 16);
    EXPECT(VARVE_FULL, varve_last_error()->code);
    OK(varve_heap_free(small, blocks[0]));
    CHECK(varve_heap_alloc(small, 65536) != NULL);
    OK(varve_heap_commit(small, NULL, 0, NULL, NULL));
    OK(varve_heap_close(small));
}

TEST(roots_of_another_type_show_both) {
    open_heap();
    int64_t *number = NULL;
    double *real = NULL;
    OK(varve_heap_root(heap, "n", "int64_t", 1, 8, &number));
    EXPECT(VARVE_LAYOUT_MISMATCH, varve_heap_root(heap, "n", "double", 1, 8, &real));
    CHECK(real == NULL && strstr(varve_last_error()->message, "Int64") && strstr(varve_last_error()->message, "Double"));
    CHECK(strcmp(varve_code_name(VARVE_LAYOUT_MISMATCH), "layoutMismatch") == 0);
    EXPECT(VARVE_VERSION_MISMATCH, varve_heap_root(heap, "n", "int64_t", 2, 8, &number));
    EXPECT(VARVE_INVALID, varve_heap_root(heap, "m", "int64_t", 1, 4, &number));
    EXPECT(VARVE_INVALID, varve_heap_root(heap, "m", "x", 1, 0, &number));
    EXPECT(VARVE_INVALID, varve_heap_root(heap, "", "x", 1, 8, &number));
    EXPECT(VARVE_INVALID, varve_heap_root(heap, NULL, "x", 1, 8, &number));
    EXPECT(VARVE_INVALID, varve_heap_root(heap, "m", "x", 1, 8, NULL));
    struct node *node = NULL;
    OK(varve_heap_root(heap, "s", "struct node", 1, sizeof *node, &node));
    EXPECT(VARVE_LAYOUT_MISMATCH, varve_heap_root(heap, "s", "struct node", 1, 24, &node));
    EXPECT(VARVE_LAYOUT_MISMATCH, varve_heap_root(heap, "s", "struct other", 1, sizeof *node, &node));
    OK(varve_heap_close(heap));
}

static int add_root(void *context, const varve_heap_root_t *root) {
    char *names = context;
    sprintf(names + strlen(names), "%s: %s %u; ", root->name, root->type, root->version);
    return root->offset == 0;
}

TEST(bytes_change_their_length) {
    open_heap();
    uint64_t size = 3;
    char *bytes = NULL;
    OK(varve_heap_bytes(heap, "b", 1, &size, &bytes));
    CHECK(size == 3 && bytes[0] == 0 && bytes[2] == 0);
    memcpy(bytes, "abc", 3);
    OK(varve_heap_bytes_resize(heap, "b", 1, 10000, &bytes));
    CHECK(memcmp(bytes, "abc\0\0\0", 6) == 0 && bytes[9999] == 0);
    OK(varve_heap_commit(heap, NULL, 0, NULL, NULL));
    reopen_heap();
    size = 1;
    OK(varve_heap_bytes(heap, "b", 1, &size, &bytes));
    CHECK(size == 10000 && memcmp(bytes, "abc", 3) == 0);
    OK(varve_heap_bytes_resize(heap, "b", 1, 2, NULL));
    OK(varve_heap_bytes_resize(heap, "b", 1, 0, NULL));
    OK(varve_heap_bytes(heap, "b", 1, &size, &bytes));
    CHECK(size == 0 && bytes == NULL);
    int64_t *number = NULL;
    EXPECT(VARVE_LAYOUT_MISMATCH, varve_heap_root(heap, "b", "int64_t", 1, 8, &number));
    OK(varve_heap_root(heap, "n", "int64_t", 7, 8, &number));
    char names[200] = "";
    OK(varve_heap_root_list(heap, add_root, names));
    CHECK(strcmp(names, "b: Bytes{block@0: Int, count@8: Int} 1; n: Int64 7; ") == 0);
    OK(varve_heap_close(heap));
}

TEST(transactions_with_a_beginning_and_an_end) {
    open_heap();
    int64_t *n = NULL;
    uint64_t version = 7, size = 16;
    char *bytes = NULL;
    OK(varve_heap_root(heap, "n", "int64_t", 1, 8, &n));
    EXPECT(VARVE_UNCOMMITTED, varve_heap_begin(heap, 0));
    EXPECT(VARVE_WRONG_STATE, varve_heap_end(heap, NULL, 0, NULL));
    EXPECT(VARVE_WRONG_STATE, varve_heap_cancel(heap));
    OK(varve_heap_commit(heap, NULL, 0, NULL, NULL));
    EXPECT(VARVE_INVALID, varve_heap_begin(heap, 1u << 30));

    OK(varve_heap_begin(heap, 0));
    *n = 1;
    EXPECT(VARVE_WRONG_STATE, varve_heap_commit(heap, NULL, 0, NULL, NULL));
    EXPECT(VARVE_WRONG_STATE, varve_heap_abandon(heap));
    EXPECT(VARVE_WRONG_STATE, varve_heap_close(heap));
    /* It is open still. */
    CHECK(heap_info(heap).roots == 1);
    OK(varve_heap_begin(heap, 0));
    *n += 1;
    OK(varve_heap_end(heap, "inner", 0, &version));
    CHECK(version == 0);
    OK(varve_heap_bytes(heap, "b", 1, &size, &bytes));
    CHECK(size == 16);
    OK(varve_heap_end(heap, "outer", 0, &version));
    CHECK(version > 0 && *n == 2);
    EXPECT(VARVE_WRONG_STATE, varve_heap_end(heap, NULL, 0, NULL));

    /* It is over, whatever is returned. */
    OK(varve_heap_begin(heap, 0));
    *n = 9;
    EXPECT(VARVE_INVALID, varve_heap_end(heap, "\xff", 0, NULL));
    CHECK(*n == 2);
    OK(varve_heap_begin(heap, 0));
    *n = 9;
    EXPECT(VARVE_INVALID, varve_heap_end(heap, NULL, 1u << 30, NULL));
    CHECK(*n == 2);
    EXPECT(VARVE_WRONG_STATE, varve_heap_end(heap, NULL, 0, NULL));

    OK(varve_heap_begin(heap, VARVE_COMMIT_DECLARED));
    OK(varve_heap_declare(heap, n, sizeof *n));
    *n = 3;
    void *block = varve_heap_alloc(heap, 64);
    OK(varve_heap_cancel(heap));
    CHECK(*n == 2);
    EXPECT(VARVE_NOT_ALLOCATED, varve_heap_free(heap, block));

    OK(varve_heap_begin(heap, 0));
    OK(varve_heap_begin(heap, 0));
    *n = 4;
    OK(varve_heap_cancel(heap));
    EXPECT(VARVE_DOOMED, varve_heap_begin(heap, 0));
    EXPECT(VARVE_DOOMED, varve_heap_end(heap, NULL, 0, NULL));
    CHECK(*n == 2);
    OK(varve_heap_begin(heap, 0));
    OK(varve_heap_end(heap, NULL, 0, NULL));
    OK(varve_heap_close(heap));
    EXPECT(VARVE_INVALID, varve_heap_begin(heap, 0));
}

static int leaves_one_open(void *context) {
    *(int64_t *)context = 9;
    EXPECT(VARVE_WRONG_STATE, varve_heap_end(heap, NULL, 0, NULL));
    return varve_heap_begin(heap, 0);
}

TEST(a_transaction_that_a_function_leaves_open) {
    open_heap();
    int64_t *n = NULL;
    OK(varve_heap_root(heap, "n", "int64_t", 1, 8, &n));
    OK(varve_heap_commit(heap, NULL, 0, NULL, NULL));
    EXPECT(VARVE_DOOMED, varve_heap_transaction(heap, NULL, 0, leaves_one_open, n));
    CHECK(*n == 0);
    EXPECT(VARVE_WRONG_STATE, varve_heap_cancel(heap));
    OK(varve_heap_close(heap));
}

static void *makes_roots(void *context) {
    int wrong = 0;
    for (int i = 0; i < 100; i++) {
        char name[32];
        uint64_t size = 8;
        int64_t *place = NULL;
        sprintf(name, "%s %d", (const char *)context, i);
        wrong += varve_heap_bytes(heap, name, 1, &size, &place) != 0 || size != 8 || place == NULL;
        /* It is known, and has none. */
        wrong += varve_heap_bytes_resize(heap, name, 1, 0, NULL) != 0;
        size = 24;
        wrong += varve_heap_bytes(heap, name, 1, &size, &place) != 0 || size != 0;
    }
    return wrong ? context : NULL;
}

TEST(bytes_of_roots_that_two_threads_make) {
    open_heap();
    pthread_t other;
    void *wrong = NULL;
    CHECK(pthread_create(&other, NULL, makes_roots, "theirs") == 0);
    CHECK(makes_roots("ours") == NULL);
    pthread_join(other, &wrong);
    CHECK(wrong == NULL);
    OK(varve_heap_close(heap));
}

TEST(abandoning_a_heap_gives_everything_back) {
    open_heap();
    int64_t *number = NULL, *later = NULL;
    OK(varve_heap_root(heap, "n", "int64_t", 1, 8, &number));
    *number = 1;
    OK(varve_heap_commit(heap, NULL, 0, NULL, NULL));
    *number = 2;
    OK(varve_heap_root(heap, "later", "int64_t", 1, 8, &later));
    void *block = varve_heap_alloc(heap, 64);
    OK(varve_heap_abandon(heap));
    CHECK(*number == 1 && heap_info(heap).roots == 1);
    EXPECT(VARVE_NOT_ALLOCATED, varve_heap_free(heap, block));
    OK(varve_heap_close(heap));
}

TEST(a_declared_commit_of_a_heap) {
    open_heap();
    int64_t *number = NULL;
    OK(varve_heap_root(heap, "n", "int64_t", 1, 8, &number));
    OK(varve_heap_commit(heap, NULL, 0, NULL, NULL));
    OK(varve_heap_declare(heap, number, sizeof *number));
    *number = 5;
    OK(varve_heap_commit(heap, NULL, VARVE_COMMIT_DECLARED | VARVE_COMMIT_DEFERRED, NULL, NULL));
    *number = 6;
    OK(varve_heap_abandon(heap));
    CHECK(*number == 5);
    varve_heap_info_t info = heap_info(heap);
    OK(varve_heap_declare(heap, number, 0));
    EXPECT(VARVE_INVALID, varve_heap_declare(heap, (char *)info.base + info.capacity - 1, 2));
    EXPECT(VARVE_INVALID, varve_heap_declare(heap, &info, 1));
    EXPECT(VARVE_INVALID, varve_heap_commit(heap, NULL, 4, NULL, NULL));
    OK(varve_heap_close(heap));
}

static int64_t *moved;

static int move(void *context) {
    moved[0] -= 5;
    moved[1] += 5;
    return context != NULL;
}

static int nested(void *context) {
    moved[0] = 1000;
    EXPECT(VARVE_WRONG_STATE, varve_heap_commit(heap, NULL, 0, NULL, NULL));
    int code = varve_heap_transaction(heap, NULL, 0, move, context);
    CHECK(code == (context ? VARVE_ABORTED : 0));
    return 0;
}

TEST(transactions) {
    open_heap();
    OK(varve_heap_root(heap, "moved", "int64_t[2]", 1, 16, &moved));
    EXPECT(VARVE_UNCOMMITTED, varve_heap_transaction(heap, NULL, 0, move, NULL));
    OK(varve_heap_commit(heap, NULL, 0, NULL, NULL));
    OK(varve_heap_transaction(heap, "move", VARVE_COMMIT_DEFERRED, move, NULL));
    CHECK(moved[0] == -5 && moved[1] == 5);
    EXPECT(VARVE_ABORTED, varve_heap_transaction(heap, NULL, 0, move, moved));
    CHECK(moved[0] == -5 && moved[1] == 5 && varve_last_error()->text[0]);
    CHECK(strcmp(varve_code_name(VARVE_ABORTED), "aborted") == 0);
    OK(varve_heap_transaction(heap, NULL, 0, nested, NULL));
    CHECK(moved[0] == 995 && moved[1] == 10);
    EXPECT(VARVE_DOOMED, varve_heap_transaction(heap, NULL, 0, nested, moved));
    CHECK(moved[0] == 995 && moved[1] == 10);
    EXPECT(VARVE_INVALID, varve_heap_transaction(heap, NULL, 0, NULL, NULL));
    EXPECT(VARVE_INVALID, varve_heap_transaction(heap, NULL, 8, move, NULL));
    OK(varve_heap_abandon(heap));
    CHECK(moved[0] == 995);
    OK(varve_heap_close(heap));
}

TEST(the_past_of_a_heap) {
    open_heap();
    int64_t *number = NULL;
    const int64_t *old = NULL;
    varve_heap_t past = NULL;
    uint64_t first = 0, version = 0, offset = 0;
    OK(varve_heap_root(heap, "n", "int64_t", 1, 8, &number));
    *number = 1;
    OK(varve_heap_commit(heap, NULL, 0, NULL, &first));
    OK(varve_heap_snapshot(heap, "one", "a name", &version));
    CHECK(version > 0);
    EXPECT(VARVE_EXISTS, varve_heap_snapshot(heap, "one", NULL, NULL));
    *number = 2;
    EXPECT(VARVE_BUSY, varve_heap_rollback(heap, "one", NULL, NULL));
    OK(varve_heap_commit(heap, NULL, 0, NULL, NULL));
    OK(varve_heap_past(heap, "one", &past));
    varve_heap_info_t info = heap_info(past);
    CHECK(info.read_only && info.relocated && info.base != heap_info(heap).base);
    OK(varve_heap_root(past, "n", "int64_t", 1, 8, &old));
    CHECK(*old == 1 && *number == 2);
    OK(varve_heap_offset(past, old, &offset));
    CHECK(varve_heap_at(heap, offset) == number);
    EXPECT(VARVE_NOT_FOUND, varve_heap_root(past, "m", "int64_t", 1, 8, &old));
    CHECK(varve_heap_alloc(past, 8) == NULL && varve_last_error()->code == VARVE_READ_ONLY);
    EXPECT(VARVE_READ_ONLY, varve_heap_commit(past, NULL, 0, NULL, NULL));
    EXPECT(VARVE_READ_ONLY, varve_heap_declare(past, old, 8));
    CHECK(store_raises((vm_address_t)old));
    OK(varve_heap_close(past));
    char number_of_first[24];
    sprintf(number_of_first, "%lu", (unsigned long)first);
    OK(varve_heap_rollback(heap, number_of_first, "back", &version));
    CHECK(*number == 1 && version > first);
    EXPECT(VARVE_NOT_FOUND, varve_heap_past(heap, "two", &past));
    EXPECT(VARVE_NOT_FOUND, varve_heap_rollback(heap, "two", NULL, NULL));
    EXPECT(VARVE_NO_STORE, varve_heap_open_past(path_of("nowhere"), NULL, &past));
    OK(varve_heap_close(heap));
}

TEST(offsets) {
    open_heap();
    varve_heap_info_t info = heap_info(heap);
    CHECK(info.capacity == CAPACITY && !info.read_only && !info.relocated);
    char *block = varve_heap_alloc(heap, 10);
    uint64_t offset = 0;
    OK(varve_heap_offset(heap, block + 3, &offset));
    CHECK(varve_heap_at(heap, offset) == block + 3 && (char *)info.base + offset == block + 3);
    OK(varve_heap_offset(heap, NULL, &offset));
    CHECK(offset == 0 && varve_heap_at(heap, 0) == NULL);
    EXPECT(VARVE_INVALID, varve_heap_offset(heap, &offset, &offset));
    CHECK(varve_heap_at(heap, CAPACITY) == NULL && varve_last_error()->code == VARVE_INVALID);
    OK(varve_heap_close(heap));
}

TEST(what_is_no_heap) {
    void *place = NULL;
    varve_heap_t none = NULL;
    EXPECT(VARVE_INVALID, varve_heap_commit(NULL, NULL, 0, NULL, NULL));
    EXPECT(VARVE_INVALID, varve_heap_root((varve_heap_t)store, "n", "int64_t", 1, 8, &place));
    CHECK(varve_heap_alloc(NULL, 1) == NULL && varve_last_error()->code == VARVE_INVALID);
    EXPECT(VARVE_INVALID, varve_heap_open_in(store, "c", 4096, &none));
    EXPECT(VARVE_INVALID, varve_heap_open_in(NULL, "c", 0, &none));
    EXPECT(VARVE_INVALID, varve_heap_open(NULL, 0, &none));
    EXPECT(VARVE_INVALID, varve_heap_open_in(store, "h", CAPACITY, NULL));
    open_heap();
    EXPECT(VARVE_INVALID, varve_release(heap));
    EXPECT(VARVE_INVALID, varve_commit((varve_store_t)heap, NULL, 0, NULL, NULL));
    OK(varve_heap_close(heap));
    EXPECT(VARVE_INVALID, varve_heap_close(heap));
    EXPECT(VARVE_INVALID, varve_heap_abandon(heap));
    /* The store of a path can't be opened twice. */
    OK(varve_heap_open(path_of("own.varve"), CAPACITY, &heap));
    EXPECT(VARVE_LOCKED, varve_heap_open(path_of("own.varve"), 0, &none));
    OK(varve_heap_close(heap));
    OK(varve_heap_open(path_of("own.varve"), 0, &heap));
    CHECK(heap_info(heap).capacity == CAPACITY);
    OK(varve_heap_close(heap));
}
