/* Tasks: what children inherit, and what is left of a task that was terminated. */
#include "check.h"

#include <signal.h>

static vm_address_t base_of(varve_task_t of) {
    vm_address_t address = 0;
    OK(varve_task_window(of, &address, NULL));
    return address;
}

TEST(children_inherit) {
    vm_address_t shared = allocate(1), copied = allocate(1), none = allocate(1);
    OK(varve_vm_inherit(task, shared, PAGE, VM_INHERIT_SHARE));
    OK(varve_vm_inherit(task, none, PAGE, VM_INHERIT_NONE));
    OK(varve_vm_wire(task, shared, PAGE, VM_PROT_READ));
    *at(shared) = 1;
    *at(copied) = 2;
    varve_task_t child = NULL, grandchild = NULL, empty = NULL;
    OK(varve_task_create(task, "child", 1, &child));
    vm_address_t move = base_of(child) - base;
    CHECK(move != 0);
    CHECK(*at(shared + move) == 1 && *at(copied + move) == 2 && !is_mapped(child, none + move));
    *at(shared) = 11;
    *at(copied) = 12;
    CHECK(*at(shared + move) == 11 && *at(copied + move) == 2);
    *at(shared + move) = 21;
    *at(copied + move) = 22;
    CHECK(*at(shared) == 21 && *at(copied) == 12);
    varve_region_info_t info = region_at(child, shared + move, NULL, NULL);
    CHECK(info.inheritance == VM_INHERIT_SHARE && info.wired_count == 0);
    CHECK(region_at(child, copied + move, NULL, NULL).inheritance == VM_INHERIT_COPY);

    OK(varve_task_create(child, "grandchild", 1, &grandchild));
    vm_address_t further = base_of(grandchild) - base;
    *at(shared + further) = 31;
    *at(copied + further) = 32;
    CHECK(*at(shared) == 31 && *at(shared + move) == 31 && *at(copied) == 12 && *at(copied + move) == 22);

    OK(varve_task_create(task, "empty", 0, &empty));
    CHECK(!is_mapped(empty, base_of(empty) + (shared - base)));
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    reopen();
    OK(varve_task_attach(store, "child", &child));
    CHECK(*at(shared) == 31 && *at(shared + move) == 31 && *at(copied + move) == 22);
    *at(shared) = 41;
    CHECK(*at(shared + move) == 41);
}

TEST(what_task_create_refuses) {
    varve_task_t child = (varve_task_t)7;
    EXPECT(KERN_NAME_EXISTS, varve_task_create(task, "main", 1, &child));
    EXPECT(KERN_INVALID_ARGUMENT, varve_task_create(task, NULL, 1, &child));
    EXPECT(KERN_INVALID_ARGUMENT, varve_task_create(task, "child", 1, NULL));
    EXPECT(KERN_INVALID_ARGUMENT, varve_task_create(task, "\xff", 1, &child));
    EXPECT(KERN_INVALID_TASK, varve_task_create(NULL, "child", 1, &child));
    CHECK(child == (varve_task_t)7);
}

TEST(a_terminated_task_says_so) {
    varve_task_t doomed = NULL;
    OK(varve_task_attach(store, "doomed", &doomed));
    varve_object_t object = object_of("o", 1, 1), entry = NULL;
    vm_address_t address = map_object(doomed, object, 1, 0), here = map_object(task, object, 1, 0), was = address;
    vm_size_t size = PAGE;
    *at(address) = 70;
    OK(varve_task_terminate(doomed));
    CHECK(load_raises(address) == SIGSEGV && *at(here) == 70);

    void *data = NULL;
    varve_region_info_t info;
    uint32_t filled = VARVE_REGION_INFO_COUNT;
    int bits = 0;
    EXPECT(KERN_TERMINATED, varve_vm_map(doomed, &address, 0, 0, 1, NULL, 0, 0, 9, 9, 9));
    EXPECT(KERN_TERMINATED, varve_vm_map(doomed, NULL, PAGE, 0, 1, NULL, 0, 0, 3, 7, 1));
    EXPECT(KERN_TERMINATED, varve_vm_allocate(doomed, &address, 0, 1));
    EXPECT(KERN_TERMINATED, varve_vm_deallocate(doomed, address, 0));
    EXPECT(KERN_TERMINATED, varve_vm_protect(doomed, address, PAGE, 0, 9));
    EXPECT(KERN_TERMINATED, varve_vm_inherit(doomed, address, PAGE, 9));
    EXPECT(KERN_TERMINATED, varve_vm_remap(doomed, &address, PAGE, 0, 1, task, here, 0, NULL, NULL, 9));
    EXPECT(KERN_TERMINATED, varve_vm_remap(doomed, &address, PAGE, 0, 1, NULL, here, 0, NULL, NULL, 1));
    EXPECT(KERN_INVALID_TASK, varve_vm_remap(task, &address, PAGE, 0, 1, doomed, here, 0, NULL, NULL, 1));
    EXPECT(KERN_TERMINATED, varve_vm_region(doomed, &address, &size, 9, &info, &filled, NULL));
    EXPECT(KERN_TERMINATED, varve_vm_read(doomed, address, 0, &data, &size));
    EXPECT(KERN_TERMINATED, varve_vm_read_overwrite(doomed, address, 0, NULL, NULL));
    EXPECT(KERN_TERMINATED, varve_vm_write(doomed, address, NULL, PAGE));
    EXPECT(KERN_TERMINATED, varve_vm_copy(doomed, address, 0, address));
    EXPECT(KERN_TERMINATED, varve_vm_msync(doomed, address, PAGE, 77));
    EXPECT(KERN_TERMINATED, varve_vm_behavior_set(doomed, address, 0, 77));
    EXPECT(KERN_TERMINATED, varve_vm_wire(doomed, address, 0, 77));
    EXPECT(KERN_TERMINATED, varve_vm_map_page_query(doomed, address, &bits));
    EXPECT(KERN_TERMINATED, varve_make_memory_entry(doomed, &size, address, 9, &entry, NULL));
    EXPECT(KERN_TERMINATED, varve_make_memory_entry(doomed, &size, address, VM_PROT_READ, &entry, object));
    EXPECT(KERN_TERMINATED, varve_task_create(doomed, "child", 1, &doomed));
    EXPECT(KERN_TERMINATED, varve_task_terminate(doomed));
    OK(varve_task_touch(doomed, address, PAGE));
    CHECK(address == was && size == PAGE);
    OK(varve_release(doomed));
    EXPECT(KERN_INVALID_TASK, varve_task_terminate(doomed));

    OK(varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(*at(here) == 70);
    OK(varve_task_attach(store, "doomed", &doomed));
    CHECK(!is_mapped(doomed, was));
}

static int note_name(void *context, const char *name) {
    strcat(strcat(context, name), " ");
    return 0;
}

TEST(tasks_of_the_past) {
    vm_address_t address = map_object(task, object_of("o", 2, 1), 2, 0);
    *at(address) = 10;
    OK(varve_commit(store, NULL, 0, "then", NULL));
    *at(address) = 20;
    varve_task_t other = NULL, clone = NULL;
    OK(varve_task_attach(store, "other", &other));
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    char names[64] = "";
    OK(varve_task_list(store, NULL, note_name, names));
    CHECK(strcmp(names, "main other ") == 0);
    names[0] = 0;
    OK(varve_task_list(store, "then", note_name, names));
    CHECK(strcmp(names, "main ") == 0);

    varve_state_t state = NULL;
    int64_t shift = 0;
    OK(varve_task_map_state(store, "main", "then", &state, &shift));
    CHECK(shift != 0 && *at(address + (uint64_t)shift) == 10 && store_raises(address + (uint64_t)shift) == SIGSEGV);
    OK(varve_task_clone(store, "main", "then", "clone", &clone));
    vm_address_t copy = address - base + base_of(clone);
    CHECK(*at(copy) == 10 && *at(copy + PAGE) == 2);
    *at(copy) = 30;
    CHECK(*at(address) == 20 && *at(address + (uint64_t)shift) == 10);
    OK(varve_release(state));
    EXPECT(VARVE_NOT_FOUND, varve_task_map_state(store, "nobody", NULL, &state, &shift));
    EXPECT(VARVE_EXISTS, varve_task_clone(store, "main", NULL, "other", &clone));
}

TEST(what_is_no_task_is_refused) {
    varve_object_t object = object_of("o", 1, 1);
    varve_task_t none[] = {NULL, (varve_task_t)object, (varve_task_t)store, (varve_task_t)&object, (varve_task_t)1};
    vm_address_t address = 0;
    for (unsigned index = 0; index < sizeof none / sizeof *none; index++) {
        EXPECT(KERN_INVALID_TASK, varve_vm_map(none[index], &address, 0, 0, 1, NULL, 0, 0, 9, 9, 9));
        EXPECT(KERN_INVALID_TASK, varve_vm_allocate(none[index], NULL, PAGE, 1));
        EXPECT(KERN_INVALID_TASK, varve_vm_deallocate(none[index], 0, 0));
        EXPECT(KERN_INVALID_TASK, varve_vm_inherit(none[index], 0, 0, 9));
        EXPECT(KERN_INVALID_TASK, varve_vm_behavior_set(none[index], 0, 0, 99));
        EXPECT(KERN_INVALID_TASK, varve_task_window(none[index], NULL, NULL));
        EXPECT(KERN_INVALID_TASK, varve_task_touch(none[index], 0, 0));
    }
    CHECK(address == 0);
}

TEST(tasks_are_attached_once) {
    varve_task_t again = NULL;
    vm_address_t address = allocate(1);
    OK(varve_task_attach(store, "main", &again));
    CHECK(again != task && is_mapped(again, address));
    OK(varve_release(again));
    CHECK(is_mapped(task, address));
    EXPECT(VARVE_INVALID, varve_task_attach(store, "", &again));
    EXPECT(VARVE_INVALID, varve_task_attach(store, NULL, &again));
    EXPECT(VARVE_INVALID, varve_task_attach((varve_store_t)task, "main", &again));
}
