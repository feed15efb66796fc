/* Handles, errors, threads, forked children. */
#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(errors_say_what_failed) {
    varve_store_t none = NULL;
    vm_address_t address = 0;
    EXPECT(VARVE_NO_STORE, varve_store_open(path_of("nothing"), 0, &none));
    const varve_error_t *error = varve_last_error();
    CHECK(error->code == VARVE_NO_STORE && strcmp(error->name, "noStore") == 0 && strlen(error->message) > 5);
    CHECK(error->path && strstr(error->path, "nothing") && strstr(error->text, "nothing"));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_map(task, &address, 0, 0, 1, NULL, 0, 0, 3, 7, 1));
    error = varve_last_error();
    CHECK(error->code == KERN_INVALID_ARGUMENT && strcmp(error->name, "INVALID_ARGUMENT") == 0 && error->path == NULL);
    CHECK(error->advice[0] == 0);
    OK(varve_vm_allocate(task, &address, PAGE, 1));
    CHECK(varve_last_error()->code == KERN_INVALID_ARGUMENT);
}

TEST(codes_have_names) {
    static const int codes[] = {0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 13, 15, 16, 17, 18, 20, 29, 37, 46, 49};
    for (unsigned index = 0; index < sizeof codes / sizeof *codes; index++) {
        CHECK(strcmp(varve_code_name(codes[index]), "UNKNOWN") != 0);
    }
    for (int code = VARVE_NO_STORE; code <= VARVE_WRONG_STATE; code++) CHECK(strcmp(varve_code_name(code), "UNKNOWN") != 0);
    CHECK(strcmp(varve_code_name(KERN_NO_SPACE), "NO_SPACE") == 0 && strcmp(varve_code_name(VARVE_FULL), "full") == 0);
    CHECK(strcmp(varve_code_name(7), "UNKNOWN") == 0 && strcmp(varve_code_name(-1), "UNKNOWN") == 0);
    CHECK(strcmp(varve_version(), VARVE_VERSION) == 0);
}

TEST(stale_handles_find_nothing) {
    varve_object_t object = object_of("o", 1, 1), next = NULL;
    uint64_t number = 0;
    OK(varve_release(object));
    EXPECT(VARVE_INVALID, varve_release(object));
    EXPECT(VARVE_INVALID, varve_object_number(object, &number));
    OK(varve_object_open(store, "o", &next));
    CHECK(next != object);
    EXPECT(VARVE_INVALID, varve_object_number(object, &number));
    OK(varve_object_number(next, &number));
    OK(varve_release(NULL));
    EXPECT(VARVE_INVALID, varve_release(store));
    EXPECT(VARVE_INVALID, varve_release(&number));
    EXPECT(VARVE_INVALID, varve_release((void *)3));
    EXPECT(VARVE_INVALID, varve_store_close((varve_store_t)task));
    EXPECT(VARVE_INVALID, varve_commit(NULL, NULL, 0, NULL, NULL));
    EXPECT(VARVE_INVALID, varve_abandon((varve_store_t)next));
    uintptr_t bits = (uintptr_t)next;
    for (int bit = 0; bit < 64; bit++) {
        if (bit == 1) continue; /* that may be another live handle */
        varve_object_t near = (varve_object_t)(bits ^ (uintptr_t)1 << bit);
        if (near == (varve_object_t)task || near == (varve_object_t)store) continue;
        if (varve_object_number(near, &number) == 0) CHECK(bit < 32);
    }
}

TEST(a_closed_store) {
    varve_store_t other = second_store("closed.varve");
    varve_task_t orphan = NULL;
    varve_object_t object = NULL;
    varve_state_t state = NULL;
    const void *bytes = NULL;
    uint64_t size = 0;
    OK(varve_task_attach(other, "main", &orphan));
    OK(varve_object_create(other, "o", PAGE, 0, NULL, &object));
    OK(varve_write(other, "o", 0, "z", 1, NULL, NULL));
    OK(varve_state_map(other, "o", &state, &bytes, &size));
    OK(varve_store_close(other));
    EXPECT(VARVE_INVALID, varve_store_close(other));
    EXPECT(VARVE_INVALID, varve_commit(other, NULL, 0, NULL, NULL));
    vm_address_t address = 0;
    EXPECT(KERN_TERMINATED, varve_vm_allocate(orphan, &address, PAGE, 1));
    EXPECT(KERN_TERMINATED, varve_vm_map(orphan, &address, PAGE, 0, 1, object, 0, 0, 3, 7, 1));
    CHECK(*(const char *)bytes == 'z');
    OK(varve_release(state));
    OK(varve_release(orphan));
    OK(varve_release(object));
}

static void *use_handles(void *failed) {
    for (int round = 0; round < 2000; round++) {
        varve_object_t object = NULL;
        uint64_t number = 0;
        if (varve_object_open(store, "o", &object) != 0 || varve_object_number(object, &number) != 0) *(int *)failed = 1;
        if (varve_release(object) != 0 || varve_object_number(object, &number) != VARVE_INVALID) *(int *)failed = 1;
        if (varve_last_error()->code != VARVE_INVALID) *(int *)failed = 1;
    }
    return NULL;
}

TEST(handles_and_errors_are_safe_between_threads) {
    pthread_t threads[4];
    int failed[4] = {0};
    object_of("o", 1, 0);
    EXPECT(VARVE_EXISTS, varve_object_create(store, "o", 1, 0, NULL, (varve_object_t[]){NULL}));
    for (int index = 0; index < 4; index++) pthread_create(&threads[index], NULL, use_handles, &failed[index]);
    for (int index = 0; index < 4; index++) {
        pthread_join(threads[index], NULL);
        CHECK(!failed[index]);
    }
    CHECK(varve_last_error()->code == VARVE_EXISTS);
}

TEST(a_forked_child_has_no_handles) {
    varve_object_t object = object_of("o", 1, 1);
    vm_address_t address = map_object(task, object, 1, 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        uint64_t number = 0;
        varve_store_t own = NULL;
        int wrong = varve_vm_allocate(task, &address, PAGE, 1) != KERN_INVALID_TASK;
        wrong |= varve_commit(store, NULL, 0, NULL, NULL) != VARVE_WRONG_STATE;
        wrong |= varve_object_number(object, &number) != VARVE_WRONG_STATE;
        wrong |= varve_release(object) != VARVE_WRONG_STATE;
        wrong |= varve_store_close(store) != VARVE_WRONG_STATE;
        wrong |= varve_store_open(path_of("0.varve"), 0, &own) == 0;
        _exit(wrong);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    *at(address) = 44;
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(*at(address) == 44);
}
