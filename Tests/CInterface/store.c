/* Stores: commit, abandon, snapshots, rollback, objects, the log. */
#include "check.h"

#include <stdlib.h>

static unsigned char byte_of(const char *reference, uint64_t offset) {
    unsigned char byte = 0xee;
    size_t count = 0;
    OK(varve_read(store, reference, offset, &byte, 1, &count));
    CHECK(count == 1);
    return byte;
}

TEST(a_task_is_at_the_same_addresses_again) {
    varve_object_t object = object_of("o", 2, 0);
    vm_address_t shared = map_object(task, object, 2, 0), own = allocate(1), window = base;
    OK(varve_vm_protect(task, own, PAGE, 1, VM_PROT_DEFAULT));
    *at(shared + PAGE) = 4;
    *at(own) = 5;
    uint64_t version = 0, next = 0;
    OK(varve_commit(store, "both", 0, NULL, &version));
    OK(varve_commit(store, "nothing", 0, NULL, &next));
    CHECK(version > 0 && next == version);
    *at(own) = 6;
    reopen();
    CHECK(base == window && *at(shared + PAGE) == 4 && *at(own) == 5);
    CHECK(region_at(task, own, NULL, NULL).max_protection == VM_PROT_DEFAULT);
}

TEST(abandoning_undoes_bytes_and_maps) {
    varve_object_t object = object_of("o", 2, 1);
    vm_address_t kept = map_object(task, object, 2, 0), given = allocate(2);
    boolean_t changed = 9;
    *at(given) = 1;
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    OK(varve_is_changed(store, &changed));
    CHECK(changed == 0);
    *at(kept) = 60;
    *at(given) = 61;
    OK(varve_vm_deallocate(task, given + PAGE, PAGE));
    OK(varve_vm_protect(task, kept, PAGE, 0, VM_PROT_READ));
    vm_address_t made = allocate(8);
    OK(varve_is_changed(store, &changed));
    CHECK(changed == 1);
    OK(varve_abandon(store));
    CHECK(*at(kept) == 1);
    CHECK(*at(given) == 1);
    CHECK(is_mapped(task, given + PAGE));
    CHECK(!is_mapped(task, made + 7 * PAGE));
    CHECK(store_raises(kept) == 0);
    OK(varve_abandon(store));
    OK(varve_is_changed(store, &changed));
    CHECK(changed == 0);
}

TEST(a_declared_commit_takes_what_was_declared) {
    vm_address_t address = map_object(task, object_of("o", 4, 0), 4, 0);
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    OK(varve_task_touch(task, address + PAGE, 2));
    *at(address + PAGE) = 9;
    OK(varve_commit(store, "declared", VARVE_COMMIT_DECLARED | VARVE_COMMIT_DEFERRED, NULL, NULL));
    OK(varve_flush(store));
    CHECK(byte_of("o", PAGE) == 9);
    EXPECT(VARVE_INVALID, varve_commit(store, NULL, 4, NULL, NULL));
}

TEST(private_memory_is_given_back) {
    varve_object_t object;
    OK(varve_object_create(store, "o", 1024 * PAGE, VARVE_OBJECT_EXCLUSIVE, "made", &object));
    vm_address_t address = map_object(task, object, 1024, 0);
    for (uint64_t page = 0; page < 1024; page++) *at(address + page * PAGE) = (unsigned char)page;
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    uint64_t left = 1;
    OK(varve_trim(store, 0, &left));
    CHECK(left == 0);
    *at(address + 5 * PAGE) = 77;
    OK(varve_trim(store, 0, &left));
    CHECK(left >= PAGE);
    for (uint64_t page = 0; page < 1024; page++) CHECK(*at(address + page * PAGE) == (page == 5 ? 77 : (unsigned char)page));
    OK(varve_set_residency(store, 1));
    *at(address + 6 * PAGE) = 78;
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(*at(address + 5 * PAGE) == 77 && *at(address + 6 * PAGE) == 78);
    OK(varve_set_residency(store, 0));
    OK(varve_trim(store, 0, NULL));
    EXPECT(VARVE_INVALID, varve_trim(NULL, 0, NULL));
    EXPECT(VARVE_INVALID, varve_set_residency(NULL, 0));
    OK(varve_release(object));
}

static int find_snapshot(void *context, const varve_snapshot_t *snapshot) {
    char *names = context;
    strcat(strcat(names, snapshot->name), snapshot->object ? "# " : " ");
    return 0;
}

static int stop(void *context, const varve_snapshot_t *snapshot) {
    (void)snapshot;
    ++*(int *)context;
    return 1;
}

TEST(snapshots_and_rollback) {
    vm_address_t address = map_object(task, object_of("o", 2, 1), 2, 0);
    uint64_t first = 0, second = 0, third = 0;
    *at(address) = 10;
    OK(varve_commit(store, "one", 0, "first", &first));
    *at(address) = 20;
    OK(varve_commit(store, "two", 0, NULL, &second));
    EXPECT(VARVE_EXISTS, varve_commit(store, NULL, 0, "first", NULL));
    OK(varve_snapshot_create(store, "of o", "o", "a message", &third));
    EXPECT(VARVE_EXISTS, varve_snapshot_create(store, "first", NULL, NULL, NULL));
    EXPECT(VARVE_NOT_FOUND, varve_snapshot_create(store, "third", "p", NULL, NULL));
    CHECK(first < second);
    char names[256] = "";
    OK(varve_snapshot_list(store, find_snapshot, names));
    CHECK(strstr(names, "first ") && strstr(names, "of o# "));
    int shown = 0;
    OK(varve_snapshot_list(store, stop, &shown));
    CHECK(shown == 1);
    EXPECT(VARVE_INVALID, varve_snapshot_list(store, NULL, NULL));
    CHECK(byte_of("o@first", 0) == 10 && byte_of("o", 0) == 20);
    char number[64];
    snprintf(number, sizeof number, "o@%llu", (unsigned long long)second);
    CHECK(byte_of(number, 0) == 20);

    varve_state_t state = NULL;
    const void *bytes = NULL;
    uint64_t size = 0, version = 0;
    OK(varve_state_map(store, "o@first", &state, &bytes, &size));
    CHECK(size == 2 * PAGE && *(const unsigned char *)bytes == 10);
    *at(address) = 30;
    EXPECT(VARVE_BUSY, varve_rollback(store, "first", NULL, NULL, NULL));
    OK(varve_abandon(store));
    OK(varve_rollback(store, "first", "o", "back", &version));
    CHECK(*at(address) == 10 && version > second && *(const unsigned char *)bytes == 10);
    OK(varve_rollback(store, "of o", "o", NULL, NULL));
    CHECK(*at(address) == 20);
    EXPECT(VARVE_NOT_FOUND, varve_rollback(store, "nowhere", NULL, NULL, NULL));
    OK(varve_release(state));
    EXPECT(VARVE_INVALID, varve_release(state));

    OK(varve_snapshot_rename(store, "first", "renamed"));
    OK(varve_snapshot_delete(store, "of o"));
    EXPECT(VARVE_NOT_FOUND, varve_snapshot_delete(store, "first"));
    names[0] = 0;
    OK(varve_snapshot_list(store, find_snapshot, names));
    CHECK(strcmp(names, "renamed ") == 0);
}

static int note_difference(void *context, const varve_difference_t *difference) {
    varve_difference_t *found = context;
    if (strcmp(difference->name, "o") == 0) *found = *difference;
    return 0;
}

static int note_message(void *context, const varve_log_entry_t *entry) {
    if (strcmp(entry->message, "wanted") == 0) *(uint64_t *)context = entry->version;
    return 0;
}

TEST(differences_and_log) {
    vm_address_t address = map_object(task, object_of("o", 3, 0), 3, 0);
    uint64_t version = 0, logged = 0;
    OK(varve_commit(store, NULL, 0, "before", NULL));
    *at(address + PAGE) = 1;
    *at(address + PAGE + 9) = 1;
    OK(varve_commit(store, "wanted", 0, NULL, &version));
    varve_difference_t found;
    memset(&found, 0, sizeof found);
    OK(varve_diff(store, "before", NULL, NULL, note_difference, &found));
    CHECK(found.kind == VARVE_CHANGED && found.changed_pages == 1 && found.changed_bytes == 2);
    CHECK(found.size_before == 3 * PAGE && found.size_after == 3 * PAGE);
    OK(varve_log(store, note_message, &logged));
    CHECK(logged == version);
    EXPECT(VARVE_NOT_FOUND, varve_diff(store, "nowhere", NULL, NULL, note_difference, &found));
}

static int count_objects(void *context, const varve_object_info_t *object) {
    if (strcmp(object->name, "one") == 0 || strcmp(object->name, "two") == 0) ++*(int *)context;
    return 0;
}

TEST(objects_by_name) {
    varve_object_t one = NULL, again = NULL, copy = NULL;
    uint64_t number = 0, same = 0, size = 0;
    OK(varve_object_create(store, "one", 5000, VARVE_OBJECT_SHARED, "made", &one));
    EXPECT(VARVE_EXISTS, varve_object_create(store, "one", 5000, 0, NULL, &again));
    EXPECT(VARVE_INVALID, varve_object_create(store, "", 5000, 0, NULL, &again));
    EXPECT(VARVE_INVALID, varve_object_create(store, NULL, 5000, 0, NULL, &again));
    EXPECT(VARVE_INVALID, varve_object_create(store, "\xc3(", 5000, 0, NULL, &again));
    EXPECT(VARVE_INVALID, varve_object_create(store, "big", ((uint64_t)1 << 44) + 1, 0, NULL, &again));
    EXPECT(VARVE_NOT_FOUND, varve_object_open(store, "two", &again));
    CHECK(again == NULL);
    OK(varve_object_number(one, &number));
    char name[32];
    snprintf(name, sizeof name, "#%llu", (unsigned long long)number);
    OK(varve_object_open(store, name, &again));
    OK(varve_object_number(again, &same));
    CHECK(same == number);
    OK(varve_write(store, "one", 4990, "0123456789", 10, "text", NULL));
    EXPECT(VARVE_INVALID, varve_write(store, "one", 4991, "0123456789", 10, NULL, NULL));
    OK(varve_object_clone(store, "one", "two", NULL, &copy));
    OK(varve_object_resize(store, "one", 100, NULL));
    OK(varve_object_size(store, "one", &size));
    CHECK(size == 100);
    unsigned char bytes[20];
    size_t count = 0;
    OK(varve_read(store, "two", 4995, bytes, sizeof bytes, &count));
    CHECK(count == 5 && memcmp(bytes, "56789", 5) == 0);
    int known = 0;
    OK(varve_object_list(store, NULL, count_objects, &known));
    CHECK(known == 2);
    OK(varve_object_rename(store, "two", "three", NULL));
    OK(varve_export(store, "three", path_of("three.bin"), 0));
    EXPECT(VARVE_EXISTS, varve_export(store, "three", path_of("three.bin"), 0));
    OK(varve_import(store, path_of("three.bin"), "two", NULL, NULL));
    CHECK(byte_of("two", 4999) == '9');
    map_object(task, one, 1, 0);
    EXPECT(VARVE_BUSY, varve_object_delete(store, "one", NULL));
    EXPECT(VARVE_BUSY, varve_write(store, "one", 0, "x", 1, NULL, NULL));
    OK(varve_object_delete(store, "three", NULL));
    EXPECT(VARVE_NOT_FOUND, varve_object_delete(store, "three", NULL));
}

TEST(readers_beside_the_writer) {
    varve_store_t reader = NULL, second = NULL;
    varve_task_t none = NULL;
    char own[4096];
    varve_store_info_t info = {.size = sizeof info};
    OK(varve_store_info(store, &info));
    CHECK(info.writes && info.window_base == base && info.disk_bytes > 0);
    info.size = 8;
    EXPECT(VARVE_INVALID, varve_store_info(store, &info));
    object_of("o", 1, 1);
    snprintf(own, sizeof own, "%s", path_of("copy.varve"));
    OK(varve_backup(store, own));
    EXPECT(VARVE_STORE_EXISTS, varve_backup(store, own));
    OK(varve_store_open(own, VARVE_OPEN_WRITE, &second));
    EXPECT(VARVE_LOCKED, varve_store_open(own, VARVE_OPEN_WRITE, &reader));
    OK(varve_store_close(second));
    OK(varve_store_open(own, VARVE_OPEN_READ, &reader));
    unsigned char byte = 0;
    OK(varve_read(reader, "o", 0, &byte, 1, NULL));
    CHECK(byte == 1);
    EXPECT(VARVE_LOCKED, varve_task_attach(reader, "main", &none));
    OK(varve_store_close(reader));
    EXPECT(VARVE_NO_STORE, varve_store_open(path_of("nothing.varve"), 0, &reader));
    EXPECT(VARVE_INVALID, varve_store_open(own, VARVE_OPEN_READ | VARVE_OPEN_AUTOMATIC, &reader));
    EXPECT(VARVE_INVALID, varve_store_open(own, 1024, &reader));
    EXPECT(VARVE_STORE_EXISTS, varve_store_create(own, 0, 0));
    EXPECT(VARVE_INVALID, varve_store_create(path_of("ring.varve"), 5, 0));
}
