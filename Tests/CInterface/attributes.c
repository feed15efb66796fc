/* vm_deallocate, vm_protect, vm_inherit, vm_region. */
#include "check.h"

#include <signal.h>

TEST(deallocating_clips) {
    vm_address_t address = allocate(8);
    for (int page = 0; page < 8; page++) *at(address + page * PAGE) = (unsigned char)(page + 1);
    /* Outward: the second to the fourth page. */
    OK(varve_vm_deallocate(task, address + PAGE + 5, 2 * PAGE));
    CHECK(is_mapped(task, address) && !is_mapped(task, address + PAGE) && !is_mapped(task, address + 3 * PAGE));
    CHECK(is_mapped(task, address + 4 * PAGE));
    CHECK(*at(address) == 1 && *at(address + 4 * PAGE) == 5 && *at(address + 7 * PAGE) == 8);
    CHECK(load_raises(address + 2 * PAGE) == SIGSEGV);
    OK(varve_vm_deallocate(task, address, 8 * PAGE));
    OK(varve_vm_deallocate(task, address, 8 * PAGE));
    OK(varve_vm_deallocate(task, address, 0));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_deallocate(task, UINT64_MAX - PAGE, 2 * PAGE));
}

TEST(what_was_stored_outlives_its_mapping) {
    varve_object_t object = object_of("o", 4, 1);
    vm_address_t address = map_object(task, object, 4, 0);
    *at(address + PAGE) = 99;
    OK(varve_vm_deallocate(task, address + PAGE, PAGE));
    CHECK(*at(address) == 1 && *at(address + 2 * PAGE) == 3);
    OK(varve_vm_deallocate(task, address, 4 * PAGE));
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    unsigned char byte = 0;
    OK(varve_read(store, "o", PAGE, &byte, 1, NULL));
    CHECK(byte == 99);
}

TEST(protection_is_enforced) {
    vm_address_t address = allocate(4);
    *at(address + PAGE) = 5;
    OK(varve_vm_protect(task, address + PAGE + 1, 1, 0, VM_PROT_READ));
    CHECK(store_raises(address) == 0 && store_raises(address + 2 * PAGE) == 0);
    CHECK(load_raises(address + PAGE) == 0 && store_raises(address + PAGE) == SIGSEGV);
    OK(varve_vm_protect(task, address, 4 * PAGE, 0, VM_PROT_NONE));
    CHECK(load_raises(address + PAGE) == SIGSEGV);
    OK(varve_vm_protect(task, address, 4 * PAGE, 0, VM_PROT_DEFAULT));
    CHECK(*at(address + PAGE) == 5 && store_raises(address + PAGE) == 0);
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_protect(task, address, PAGE, 0, 8));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_protect(task, UINT64_MAX - PAGE, 2 * PAGE, 0, VM_PROT_READ));
    OK(varve_vm_protect(task, address, 0, 0, VM_PROT_READ));
    CHECK(store_raises(address) == 0);
}

TEST(a_maximum_only_shrinks) {
    vm_address_t address = allocate(3);
    OK(varve_vm_protect(task, address + PAGE, PAGE, 1, VM_PROT_READ | VM_PROT_EXECUTE));
    varve_region_info_t info = region_at(task, address + PAGE, NULL, NULL);
    CHECK(info.max_protection == (VM_PROT_READ | VM_PROT_EXECUTE) && info.protection == VM_PROT_READ);
    CHECK(store_raises(address + PAGE) == SIGSEGV);
    /* One page of three refuses: nothing changes. */
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_protect(task, address, 3 * PAGE, 0, VM_PROT_WRITE));
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_protect(task, address, 3 * PAGE, 1, VM_PROT_ALL));
    CHECK(region_at(task, address, NULL, NULL).protection == VM_PROT_DEFAULT);
    CHECK(load_raises(address) == 0 && store_raises(address + 2 * PAGE) == 0);
}

TEST(protecting_a_hole) {
    vm_address_t address = allocate(4);
    OK(varve_vm_deallocate(task, address + 2 * PAGE, PAGE));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_protect(task, address, 4 * PAGE, 0, VM_PROT_READ));
    CHECK(region_at(task, address, NULL, NULL).protection == VM_PROT_DEFAULT && store_raises(address) == 0);
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_protect(task, address + 2 * PAGE, PAGE, 0, VM_PROT_READ));
}

TEST(inheritance_is_set_by_page) {
    vm_address_t address = allocate(5);
    OK(varve_vm_deallocate(task, address + 2 * PAGE, PAGE));
    OK(varve_vm_inherit(task, address + PAGE + 1, 2 * PAGE, VM_INHERIT_NONE));
    CHECK(region_at(task, address, NULL, NULL).inheritance == VM_INHERIT_COPY);
    CHECK(region_at(task, address + PAGE, NULL, NULL).inheritance == VM_INHERIT_NONE);
    CHECK(region_at(task, address + 3 * PAGE, NULL, NULL).inheritance == VM_INHERIT_NONE);
    CHECK(region_at(task, address + 4 * PAGE, NULL, NULL).inheritance == VM_INHERIT_COPY);
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_inherit(task, address, PAGE, 3));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_inherit(task, address, 0, -1));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_inherit(task, UINT64_MAX - PAGE, 2 * PAGE, 0));
    OK(varve_vm_inherit(task, address, 0, VM_INHERIT_SHARE));
}

TEST(regions) {
    varve_object_t object = object_of("o", 4, 1);
    vm_address_t address = base + 8 * PAGE, found = base;
    OK(varve_vm_map(task, &address, 2 * PAGE, 0, FIXED, object, PAGE, 0, VM_PROT_READ, VM_PROT_DEFAULT, VM_INHERIT_SHARE));
    varve_region_info_t info;
    memset(&info, 0xee, sizeof info);
    vm_size_t size = 0;
    uint32_t filled = VARVE_REGION_INFO_COUNT + 3;
    uint64_t name = 0, number = 1;
    OK(varve_object_number(object, &number));
    OK(varve_vm_region(task, &found, &size, VARVE_REGION_INFO, &info, &filled, &name));
    CHECK(found == address && size == 2 * PAGE && filled == VARVE_REGION_INFO_COUNT && name == number);
    CHECK(info.protection == VM_PROT_READ && info.max_protection == VM_PROT_DEFAULT && info.inheritance == VM_INHERIT_SHARE);
    CHECK(info.offset == PAGE && info.wired_count == 0 && !info.copied && info.dirty_pages == 0);
    found = address + PAGE + 123;
    OK(varve_vm_region(task, &found, &size, VARVE_REGION_INFO, &info, &filled, NULL));
    CHECK(found == address);

    found = address + 2 * PAGE, size = 5, filled = VARVE_REGION_INFO_COUNT;
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_region(task, &found, &size, VARVE_REGION_INFO, &info, &filled, &name));
    CHECK(found == address + 2 * PAGE && size == 5 && name == number);
    found = address;
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_region(task, &found, &size, 9, &info, &filled, NULL));
    filled = VARVE_REGION_INFO_COUNT - 1;
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_region(task, &found, &size, VARVE_REGION_INFO, &info, &filled, NULL));
    CHECK(size == 5);
}

TEST(a_region_counts_its_pages) {
    vm_address_t address = map_object(task, object_of("o", 8, 1), 8, 0);
    CHECK(region_at(task, address, NULL, NULL).dirty_pages == 0);
    *at(address + PAGE) = 5;
    *at(address + 3 * PAGE) = 6;
    varve_region_info_t info = region_at(task, address, NULL, NULL);
    CHECK(info.dirty_pages == 2 && info.resident_pages >= 2 && info.resident_pages <= 8);
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(region_at(task, address, NULL, NULL).dirty_pages == 0);
    vm_address_t copy = map_object(task, object_of("p", 1, 1), 1, 1);
    CHECK(region_at(task, copy, NULL, NULL).copied);
}
