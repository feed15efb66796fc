/* Calls with two faults: the one that is checked first answers. The inheritance and the behaviours are numbers here alone. */
#include "check.h"

static varve_task_t terminated(void) {
    varve_task_t doomed = NULL;
    OK(varve_task_attach(store, "doomed", &doomed));
    OK(varve_task_terminate(doomed));
    return doomed;
}

TEST(the_inheritance_comes_after_the_task_and_before_object_rights_range_and_place) {
    varve_task_t doomed = terminated();
    varve_object_t object = object_of("o", 4, 1), reading = NULL, entry = NULL, gone = object_of("gone", 1, 1);
    vm_address_t taken = allocate(2), address = taken;
    vm_size_t size = 2 * PAGE;
    OK(varve_object_port(object, VM_PROT_READ, &reading));
    OK(varve_make_memory_entry(task, &size, taken, VM_PROT_DEFAULT, &entry, NULL));
    OK(varve_object_delete(store, "gone", NULL));
    static const vm_inherit_t bad[] = {-1, 3, INT32_MAX};
    for (unsigned index = 0; index < sizeof bad / sizeof *bad; index++) {
        EXPECT(KERN_TERMINATED, varve_vm_map(doomed, &address, PAGE, 0, FIXED, NULL, 0, 0, 3, 7, bad[index]));
        EXPECT(KERN_INVALID_ARGUMENT, varve_vm_map(task, &address, PAGE, 0, FIXED, gone, 0, 0, 3, 7, bad[index]));
        EXPECT(KERN_INVALID_ARGUMENT, varve_vm_map(task, &address, PAGE, 0, FIXED, reading, 0, 0, 3, 7, bad[index]));
        EXPECT(KERN_INVALID_ARGUMENT, varve_vm_map(task, &address, 3 * PAGE, 0, FIXED, entry, 0, 0, 3, 3, bad[index]));
        EXPECT(KERN_INVALID_ARGUMENT, varve_vm_map(task, &address, PAGE, 0, FIXED, object, 0, 1, 3, 7, bad[index]));
        EXPECT(KERN_INVALID_ARGUMENT, varve_vm_map(task, &address, PAGE, 0, FIXED, NULL, 0, 0, 3, 7, bad[index]));
        EXPECT(KERN_INVALID_ARGUMENT, varve_vm_remap(task, &address, PAGE, 0, FIXED, task, base, 0, NULL, NULL, bad[index]));
        EXPECT(KERN_INVALID_TASK, varve_vm_remap(task, &address, PAGE, 0, FIXED, doomed, base, 0, NULL, NULL, bad[index]));
        EXPECT(KERN_TERMINATED, varve_vm_inherit(doomed, address, 0, bad[index]));
        EXPECT(KERN_INVALID_ARGUMENT, varve_vm_inherit(task, address, 0, bad[index]));
    }
    /* The rest of the order, of what C says by handles. */
    EXPECT(KERN_INVALID_OBJECT, varve_vm_map(task, &address, PAGE, 0, FIXED, gone, 0, 0, 3, 7, 1));
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_map(task, &address, PAGE, 0, FIXED, reading, 0, 0, 3, 7, 1));
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_map(task, &address, 3 * PAGE, 0, FIXED, entry, 0, 0, 3, 7, 1));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_map(task, &address, 3 * PAGE, 0, FIXED, entry, 0, 0, 3, 3, 1));
    EXPECT(KERN_NO_SPACE, varve_vm_map(task, &address, PAGE, 0, FIXED, object, 0, 1, 3, 7, 1));
    CHECK(address == taken);
}

TEST(an_unknown_behavior_comes_after_the_task_and_before_the_range) {
    varve_task_t doomed = terminated();
    static const vm_behavior_t unknown[] = {-1, 7, 13};
    for (unsigned index = 0; index < sizeof unknown / sizeof *unknown; index++) {
        EXPECT(KERN_TERMINATED, varve_vm_behavior_set(doomed, base, PAGE, unknown[index]));
        EXPECT(KERN_INVALID_ARGUMENT, varve_vm_behavior_set(task, base, 0, unknown[index]));
        EXPECT(KERN_INVALID_ARGUMENT, varve_vm_behavior_set(task, base, PAGE, unknown[index]));
        EXPECT(KERN_INVALID_ARGUMENT, varve_vm_behavior_set(task, UINT64_MAX, UINT64_MAX, unknown[index]));
    }
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_behavior_set(task, base, PAGE, VM_BEHAVIOR_WILLNEED));
}

TEST(outputs_stay_untouched_where_a_call_fails) {
    varve_object_t object = object_of("o", 1, 1), entry = (varve_object_t)9;
    varve_task_t child = (varve_task_t)9;
    vm_address_t address = 77, at_hole = base;
    vm_prot_t cur = 40, max = 41;
    vm_size_t size = PAGE, count = 42;
    void *data = &count;
    int bits = 43;
    varve_region_info_t info, before;
    memset(&info, 0xee, sizeof info);
    before = info;
    uint32_t filled = VARVE_REGION_INFO_COUNT;
    uint64_t name = 44;
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_map(task, &address, PAGE, 0, 1, object, 1, 0, 3, 7, 1));
    EXPECT(KERN_NO_SPACE, varve_vm_allocate(task, &address, (uint64_t)1 << 50, 1));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_remap(task, &address, PAGE, 0, 1, task, base, 0, &cur, &max, 1));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_region(task, &at_hole, &count, VARVE_REGION_INFO, &info, &filled, &name));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_read(task, base, PAGE, &data, &count));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_map_page_query(task, base, &bits));
    EXPECT(KERN_INVALID_ADDRESS, varve_make_memory_entry(task, &size, base, VM_PROT_READ, &entry, NULL));
    EXPECT(KERN_NAME_EXISTS, varve_task_create(task, "main", 1, &child));
    CHECK(address == 77 && at_hole == base && cur == 40 && max == 41 && size == PAGE && count == 42 && data == &count);
    CHECK(bits == 43 && memcmp(&info, &before, sizeof info) == 0 && filled == VARVE_REGION_INFO_COUNT && name == 44);
    CHECK(entry == (varve_object_t)9 && child == (varve_task_t)9);
}

TEST(the_codes_have_their_numbers) {
    static const struct { int code, number; const char *name; } codes[] = {
        {KERN_SUCCESS, 0, "SUCCESS"}, {KERN_INVALID_ADDRESS, 1, "INVALID_ADDRESS"}, {KERN_PROTECTION_FAILURE, 2, "PROTECTION_FAILURE"},
        {KERN_NO_SPACE, 3, "NO_SPACE"}, {KERN_INVALID_ARGUMENT, 4, "INVALID_ARGUMENT"}, {KERN_FAILURE, 5, "FAILURE"},
        {KERN_RESOURCE_SHORTAGE, 6, "RESOURCE_SHORTAGE"}, {KERN_NO_ACCESS, 8, "NO_ACCESS"}, {KERN_MEMORY_FAILURE, 9, "MEMORY_FAILURE"},
        {KERN_MEMORY_ERROR, 10, "MEMORY_ERROR"}, {KERN_NAME_EXISTS, 13, "NAME_EXISTS"}, {KERN_INVALID_NAME, 15, "INVALID_NAME"},
        {KERN_INVALID_TASK, 16, "INVALID_TASK"}, {KERN_INVALID_RIGHT, 17, "INVALID_RIGHT"}, {KERN_INVALID_VALUE, 18, "INVALID_VALUE"},
        {KERN_INVALID_CAPABILITY, 20, "INVALID_CAPABILITY"}, {KERN_INVALID_OBJECT, 29, "INVALID_OBJECT"},
        {KERN_TERMINATED, 37, "TERMINATED"}, {KERN_NOT_SUPPORTED, 46, "NOT_SUPPORTED"},
        {KERN_OPERATION_TIMED_OUT, 49, "OPERATION_TIMED_OUT"}};
    for (unsigned index = 0; index < sizeof codes / sizeof *codes; index++) {
        CHECK(codes[index].code == codes[index].number);
        CHECK(strcmp(varve_code_name(codes[index].number), codes[index].name) == 0);
    }
    CHECK(VM_PROT_READ == 1 && VM_PROT_WRITE == 2 && VM_PROT_EXECUTE == 4 && VM_PROT_DEFAULT == 3 && VM_PROT_ALL == 7);
    CHECK(VM_INHERIT_SHARE == 0 && VM_INHERIT_COPY == 1 && VM_INHERIT_NONE == 2 && VM_INHERIT_DEFAULT == VM_INHERIT_COPY);
    CHECK(VM_SYNC_ASYNCHRONOUS == 1 && VM_SYNC_SYNCHRONOUS == 2 && VM_SYNC_INVALIDATE == 4 && VM_SYNC_KILLPAGES == 8);
    CHECK(VM_SYNC_DEACTIVATE == 16 && VM_SYNC_CONTIGUOUS == 32);
}
