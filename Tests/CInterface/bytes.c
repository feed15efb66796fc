/* vm_read, vm_write, vm_copy, vm_read_overwrite, vm_msync, vm_behavior_set, vm_wire, vm_map_page_query. */
#include "check.h"

#include <signal.h>
#include <stdlib.h>

TEST(bytes_across) {
    vm_address_t address = allocate(4);
    unsigned char bytes[3 * 4096], again[3 * 4096];
    for (unsigned index = 0; index < sizeof bytes; index++) bytes[index] = (unsigned char)(index * 7);
    OK(varve_vm_write(task, address + 100, bytes, sizeof bytes));
    CHECK(*at(address + 100 + 5000) == bytes[5000] && *at(address + 99) == 0);
    void *data = NULL;
    vm_size_t count = 0;
    OK(varve_vm_read(task, address + 100, sizeof bytes, &data, &count));
    CHECK(count == sizeof bytes && memcmp(data, bytes, sizeof bytes) == 0);
    varve_free(data);
    OK(varve_vm_read_overwrite(task, address + 100, sizeof bytes, again, &count));
    CHECK(memcmp(again, bytes, sizeof bytes) == 0 && count == sizeof bytes);

    OK(varve_vm_copy(task, address + 100, 5000, address + 200));
    CHECK(memcmp((void *)(uintptr_t)(address + 200), bytes, 5000) == 0);
    OK(varve_vm_write(task, address + 100, bytes, sizeof bytes));
    OK(varve_vm_copy(task, address + 200, 5000, address + 100));
    CHECK(memcmp((void *)(uintptr_t)(address + 100), bytes + 100, 5000) == 0);

    data = &count;
    OK(varve_vm_read(task, address, 0, &data, &count));
    CHECK(data == NULL && count == 0);
    OK(varve_vm_read_overwrite(task, 0, 0, NULL, NULL));
    OK(varve_vm_write(task, 0, NULL, 0));
    OK(varve_vm_copy(task, 0, 0, 0));
}

TEST(written_bytes_are_committed) {
    varve_object_t object = object_of("o", 2, 1);
    vm_address_t address = map_object(task, object, 2, 0);
    unsigned char byte = 0;
    OK(varve_vm_write(task, address + PAGE, "x", 1));
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    OK(varve_read(store, "o", PAGE, &byte, 1, NULL));
    CHECK(byte == 'x');
}

TEST(a_range_is_checked_before_a_byte_moves) {
    vm_address_t address = allocate(6);
    unsigned char bytes[3 * 4096];
    void *data = bytes;
    vm_size_t count = 99;
    memset(bytes, 1, sizeof bytes);
    OK(varve_vm_deallocate(task, address + PAGE, PAGE));
    OK(varve_vm_protect(task, address + 3 * PAGE, PAGE, 0, VM_PROT_READ));
    OK(varve_vm_protect(task, address + 5 * PAGE, PAGE, 0, VM_PROT_NONE));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_write(task, address, bytes, 2 * PAGE));
    CHECK(*at(address) == 0);
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_write(task, address + 2 * PAGE, bytes, 2 * PAGE));
    CHECK(*at(address + 2 * PAGE) == 0);
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_read(task, address, 2 * PAGE, &data, &count));
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_read(task, address + 4 * PAGE, 2 * PAGE, &data, &count));
    CHECK(data == bytes && count == 99);
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_read_overwrite(task, address, 2 * PAGE, bytes, &count));
    CHECK(bytes[0] == 1 && count == 99);
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_copy(task, address, 2 * PAGE, address + 2 * PAGE));
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_copy(task, address + 2 * PAGE, PAGE, address + 3 * PAGE));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_read(task, address, UINT64_MAX, &data, &count));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_write(task, address, bytes, UINT64_MAX - 5));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_write(task, address, bytes, (UINT64_MAX >> 1) + 5));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_read(task, address, (UINT64_MAX >> 1) + 5, &data, &count));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_read(task, address, (uint64_t)1 << 40, &data, &count));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_write(task, address, NULL, 1));
    CHECK(data == bytes && count == 99);
}

TEST(msync_commits) {
    varve_object_t object = object_of("o", 2, 1);
    vm_address_t address = map_object(task, object, 2, 0), other = allocate(1);
    boolean_t changed = 0;
    *at(address) = 9;
    *at(other) = 8;
    OK(varve_vm_msync(task, address, PAGE, VM_SYNC_SYNCHRONOUS));
    OK(varve_is_changed(store, &changed));
    /* All that belongs to the commit, not the range alone. */
    CHECK(!changed);
    *at(address) = 10;
    reopen();
    CHECK(*at(address) == 9 && *at(other) == 8);
}

TEST(msync_drops) {
    varve_object_t object = object_of("o", 3, 1);
    vm_address_t address = map_object(task, object, 3, 0);
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    for (int page = 0; page < 3; page++) *at(address + page * PAGE) = 50;
    OK(varve_vm_msync(task, address + PAGE, 1, VM_SYNC_INVALIDATE));
    CHECK(*at(address) == 50 && *at(address + PAGE) == 2 && *at(address + 2 * PAGE) == 50);
    OK(varve_vm_msync(task, address, PAGE, VM_SYNC_KILLPAGES));
    CHECK(*at(address) == 1 && *at(address + 2 * PAGE) == 50);
}

TEST(msync_flags) {
    vm_address_t address = allocate(3);
    OK(varve_vm_deallocate(task, address + PAGE, PAGE));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_msync(task, address, PAGE, VM_SYNC_SYNCHRONOUS | VM_SYNC_ASYNCHRONOUS));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_msync(task, address, PAGE, 64));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_msync(task, address, 3 * PAGE, VM_SYNC_SYNCHRONOUS | VM_SYNC_CONTIGUOUS));
    boolean_t changed = 0;
    OK(varve_is_changed(store, &changed));
    CHECK(changed);
    OK(varve_vm_msync(task, address, 3 * PAGE, VM_SYNC_ASYNCHRONOUS));
    OK(varve_vm_msync(task, address, 3 * PAGE, VM_SYNC_SYNCHRONOUS | VM_SYNC_DEACTIVATE));
    OK(varve_vm_msync(task, address, 0, VM_SYNC_SYNCHRONOUS));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_msync(task, UINT64_MAX - PAGE, 2 * PAGE, VM_SYNC_SYNCHRONOUS));
}

TEST(behaviors) {
    static const vm_behavior_t harmless[] = {
        VM_BEHAVIOR_DEFAULT, VM_BEHAVIOR_RANDOM, VM_BEHAVIOR_SEQUENTIAL, VM_BEHAVIOR_RSEQNTL, VM_BEHAVIOR_WILLNEED,
        VM_BEHAVIOR_DONTNEED, VM_BEHAVIOR_PAGEOUT};
    static const vm_behavior_t unknown[] = {-1, 7, 8, 9, 10, 13, 1000};
    varve_object_t object = object_of("o", 4, 1);
    vm_address_t address = map_object(task, object, 4, 0), scratch = allocate(2);
    *at(address + PAGE) = 60;
    *at(scratch) = 61;
    for (unsigned index = 0; index < sizeof harmless / sizeof *harmless; index++) {
        OK(varve_vm_behavior_set(task, address, 4 * PAGE, harmless[index]));
        OK(varve_vm_behavior_set(task, scratch, 2 * PAGE, harmless[index]));
        CHECK(*at(address) == 1 && *at(address + PAGE) == 60 && *at(address + 3 * PAGE) == 4 && *at(scratch) == 61);
    }
    for (unsigned index = 0; index < sizeof unknown / sizeof *unknown; index++) {
        EXPECT(KERN_INVALID_ARGUMENT, varve_vm_behavior_set(task, address, PAGE, unknown[index]));
        EXPECT(KERN_INVALID_ARGUMENT, varve_vm_behavior_set(task, address, 0, unknown[index]));
    }
    OK(varve_vm_behavior_set(task, address, 2 * PAGE, VM_BEHAVIOR_ZERO));
    OK(varve_vm_behavior_set(task, scratch, PAGE, VM_BEHAVIOR_FREE));
    CHECK(*at(address) == 0 && *at(address + PAGE) == 0 && *at(address + 2 * PAGE) == 3 && *at(scratch) == 0);
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    unsigned char byte = 9;
    OK(varve_read(store, "o", 0, &byte, 1, NULL));
    CHECK(byte == 0);
    OK(varve_vm_protect(task, address + 2 * PAGE, PAGE, 0, VM_PROT_READ));
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_behavior_set(task, address + 2 * PAGE, PAGE, VM_BEHAVIOR_ZERO));
    CHECK(*at(address + 2 * PAGE) == 3);
}

TEST(wiring_is_counted) {
    vm_address_t address = allocate(4);
    *at(address) = 3;
    OK(varve_vm_wire(task, address, 2 * PAGE, VM_PROT_READ));
    OK(varve_vm_wire(task, address, 2 * PAGE, VM_PROT_DEFAULT));
    CHECK(region_at(task, address, NULL, NULL).wired_count == 2);
    OK(varve_vm_wire(task, address, 2 * PAGE, VM_PROT_NONE));
    CHECK(region_at(task, address, NULL, NULL).wired_count == 1);
    OK(varve_vm_wire(task, address, 2 * PAGE, VM_PROT_NONE));
    CHECK(region_at(task, address, NULL, NULL).wired_count == 0 && *at(address) == 3);
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_wire(task, address, PAGE, 8));
    OK(varve_vm_wire(task, address, 0, VM_PROT_READ));
    OK(varve_vm_deallocate(task, address + PAGE, PAGE));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_wire(task, address, 4 * PAGE, VM_PROT_READ));
    CHECK(region_at(task, address, NULL, NULL).wired_count == 0);
    OK(varve_vm_protect(task, address, PAGE, 0, VM_PROT_READ));
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_wire(task, address, PAGE, VM_PROT_WRITE));
}

TEST(pages_are_queried) {
    varve_object_t object = object_of("o", 4, 1);
    vm_address_t address = map_object(task, object, 4, 0);
    int bits = -1;
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    *at(address + PAGE + 5) = 8;
    OK(varve_vm_map_page_query(task, address + PAGE + 77, &bits));
    CHECK(bits & VM_PAGE_QUERY_PAGE_PRESENT && bits & VM_PAGE_QUERY_PAGE_DIRTY);
    OK(varve_vm_map_page_query(task, address, &bits));
    CHECK(!(bits & VM_PAGE_QUERY_PAGE_DIRTY));
    bits = 1000;
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_map_page_query(task, address + 4 * PAGE, &bits));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_map_page_query(task, address, NULL));
    CHECK(bits == 1000);
    vm_address_t copy = map_object(task, object, 4, 1);
    OK(varve_vm_map_page_query(task, copy, &bits));
    CHECK(bits & VM_PAGE_QUERY_PAGE_COPIED);
}
