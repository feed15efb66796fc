/* Objects of host files: served, and ingested. */
#define _GNU_SOURCE
#include "managers.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* A file of `pages` pages and `more` bytes, page n beginning with the byte n + first. */
static const char *file_of(const char *name, int pages, int more, int first) {
    const char *path = path_of(name);
    FILE *file = fopen(path, "w");
    for (int page = 0; file && page < pages; page++) {
        char bytes[4096] = {(char)(page + first)};
        fwrite(bytes, 1, sizeof bytes, file);
    }
    for (int byte = 0; file && byte < more; byte++) fputc(pages + first, file);
    CHECK(file && fclose(file) == 0);
    return path;
}

static int byte_of_file(const char *path, long offset) {
    FILE *file = fopen(path, "r");
    int byte = -1;
    if (file && fseek(file, offset, SEEK_SET) == 0) byte = fgetc(file);
    if (file) fclose(file);
    return byte;
}

TEST(a_served_file_is_written_back_with_each_commit) {
    const char *path = file_of("served", 3, 10, 1);
    varve_object_t object = NULL;
    OK(varve_memory_object_of_file(store, path, 1, NULL, &object));
    vm_address_t address = map_object(task, object, 4, 0);
    CHECK(*at(address) == 1 && *at(address + 3 * PAGE + 9) == 4 && *at(address + 3 * PAGE + 10) == 0);
    *at(address + PAGE) = 99;
    CHECK(byte_of_file(path, PAGE) == 2);
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(byte_of_file(path, PAGE) == 99 && byte_of_file(path, 3 * PAGE + 9) == 4 && byte_of_file(path, 3 * PAGE + 10) == -1);
}

TEST(a_served_file_that_others_change_is_a_memory_error) {
    const char *path = file_of("changed", 4, 0, 1);
    varve_manager_attributes_t attributes = {sizeof attributes, 10000, 1};
    varve_object_t object = NULL;
    OK(varve_memory_object_of_file(store, path, 1, &attributes, &object));
    vm_address_t address = map_object(task, object, 4, 0);
    CHECK(*at(address) == 1);
    file_of("changed", 4, 0, 60);
    unsigned char byte = 0;
    if (fills_on_demand()) {
        EXPECT(KERN_MEMORY_ERROR, varve_vm_read_overwrite(task, address + PAGE, 1, &byte, NULL));
        CHECK(error_has("changed") && load_raises(address + 2 * PAGE) == SIGBUS);
    }
    CHECK(*at(address) == 1);
    *at(address) = 5;
    EXPECT(VARVE_NOT_RETURNED, varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(byte_of_file(path, 0) == 60);
}

TEST(a_served_file_may_be_for_reading) {
    const char *path = file_of("readable", 1, 0, 1);
    varve_object_t object = NULL;
    OK(varve_memory_object_of_file(store, path, 0, NULL, &object));
    vm_address_t address = 0;
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_map(task, &address, PAGE, 0, 1, object, 0, 0, 3, 3, 1));
    OK(varve_vm_map(task, &address, PAGE, 0, 1, object, 0, 0, 1, 1, 1));
    CHECK(*at(address) == 1);
}

TEST(a_file_that_can_not_be_served) {
    varve_object_t object = NULL;
    EXPECT(KERN_INVALID_OBJECT, varve_memory_object_of_file(store, path_of("nothing"), 1, NULL, &object));
    EXPECT(KERN_FAILURE, varve_memory_object_of_file(store, file_of("empty", 0, 0, 0), 1, NULL, &object));
    EXPECT(KERN_MEMORY_ERROR, varve_memory_object_of_file(store, path_of(""), 1, NULL, &object));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_of_file(store, NULL, 1, NULL, &object));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_of_file(store, "\xff", 1, NULL, &object));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_of_file(store, path_of("empty"), 1, NULL, NULL));
    CHECK(object == NULL);
}

TEST(an_ingested_file_is_the_base_of_an_object) {
    const char *path = file_of("base", 2, 0, 1);
    varve_object_t object = NULL, again = NULL;
    uint64_t number = 0, same = 0;
    OK(varve_object_of_file(store, path, "base", &object));
    OK(varve_object_number(object, &number));
    vm_address_t address = map_object(task, object, 2, 0);
    *at(address + PAGE) = 50;
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(byte_of_file(path, PAGE) == 2);
    OK(varve_object_of_file(store, path, "base", &again));
    OK(varve_object_number(again, &same));
    CHECK(same == number && *at(address + PAGE) == 50);
    /* The file changes: nothing that is mapped does. */
    file_of("base", 3, 0, 70);
    CHECK(*at(address) == 1);
    EXPECT(VARVE_BUSY, varve_object_of_file(store, path, "base", &again));
    OK(varve_vm_deallocate(task, address, 2 * PAGE));
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    OK(varve_release(object));
    OK(varve_object_of_file(store, path, "base", &object));
    unsigned char byte = 0;
    OK(varve_read(store, "base", 2 * PAGE, &byte, 1, NULL));
    CHECK(byte == 72);
    object_of("other", 1, 0);
    EXPECT(VARVE_EXISTS, varve_object_of_file(store, path, "other", &object));
    EXPECT(VARVE_NOT_FOUND, varve_object_of_file(store, path_of("nothing"), "new", &object));
    EXPECT(VARVE_INVALID, varve_object_of_file(store, NULL, "new", &object));
    EXPECT(VARVE_INVALID, varve_object_of_file(store, path, NULL, &object));
    EXPECT(VARVE_INVALID, varve_object_of_file(store, path, "new", NULL));
}
