/* vm_remap and memory entries. */
#include "check.h"

#include <signal.h>

TEST(remapping_shares) {
    vm_address_t from = allocate(3), to = 0;
    vm_prot_t cur = 0, max = 0;
    *at(from + PAGE) = 5;
    OK(varve_vm_remap(task, &to, 2 * PAGE, 0, 1, task, from + PAGE, 0, &cur, &max, VM_INHERIT_NONE));
    CHECK(to != from && *at(to) == 5 && cur == VM_PROT_DEFAULT && max == VM_PROT_ALL);
    *at(to) = 6;
    *at(from + 2 * PAGE) = 7;
    CHECK(*at(from + PAGE) == 6 && *at(to + PAGE) == 7);
    CHECK(region_at(task, to, NULL, NULL).inheritance == VM_INHERIT_NONE && region_at(task, to, NULL, NULL).shared);
    OK(varve_vm_deallocate(task, from, 3 * PAGE));
    CHECK(*at(to) == 6);
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    reopen();
    CHECK(*at(to) == 6 && *at(to + PAGE) == 7 && !is_mapped(task, from));
}

TEST(remapping_copies) {
    varve_task_t other = NULL;
    OK(varve_task_attach(store, "other", &other));
    varve_object_t object = object_of("o", 3, 1);
    vm_address_t from = map_object(task, object, 3, 0), to = 0;
    *at(from) = 55;
    OK(varve_vm_remap(other, &to, 3 * PAGE, 0, 1, task, from, 7, NULL, NULL, VM_INHERIT_COPY));
    CHECK(*at(to) == 55 && *at(to + PAGE) == 2);
    *at(from + PAGE) = 66;
    *at(to + 2 * PAGE) = 77;
    CHECK(*at(to + PAGE) == 2 && *at(from + 2 * PAGE) == 3);
}

TEST(remapping_answers_the_most_restrictive_protections) {
    vm_address_t from = allocate(3), to = 0;
    vm_prot_t cur = 0, max = 0;
    OK(varve_vm_protect(task, from + PAGE, PAGE, 0, VM_PROT_READ));
    OK(varve_vm_protect(task, from + 2 * PAGE, PAGE, 1, VM_PROT_DEFAULT));
    OK(varve_vm_remap(task, &to, 3 * PAGE, 0, 1, task, from, 0, &cur, &max, VM_INHERIT_COPY));
    CHECK(cur == VM_PROT_READ && max == VM_PROT_DEFAULT);
    CHECK(store_raises(to) == 0 && load_raises(to + PAGE) == 0 && store_raises(to + PAGE) == SIGSEGV);
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_protect(task, to + 2 * PAGE, PAGE, 0, VM_PROT_ALL));
}

TEST(what_remapping_refuses) {
    vm_address_t from = allocate(4), to = 3;
    vm_prot_t cur = 40, max = 41;
    OK(varve_vm_deallocate(task, from + 2 * PAGE, PAGE));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_remap(task, &to, 0, 0, 1, task, from, 0, &cur, &max, 1));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_remap(task, &to, PAGE, 0, 1, task, from, 0, &cur, &max, 3));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_remap(task, &to, 4 * PAGE, 0, 1, task, from, 0, &cur, &max, 1));
    EXPECT(KERN_INVALID_TASK, varve_vm_remap(NULL, &to, PAGE, 0, 1, task, from, 0, &cur, &max, 1));
    EXPECT(KERN_INVALID_TASK, varve_vm_remap(task, &to, PAGE, 0, 1, NULL, from, 0, &cur, &max, 1));
    to = from;
    EXPECT(KERN_NO_SPACE, varve_vm_remap(task, &to, PAGE, 0, 0, task, from + PAGE, 0, &cur, &max, 1));
    to = base - PAGE;
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_remap(task, &to, PAGE, 0, 0, task, from, 0, &cur, &max, 1));
    CHECK(cur == 40 && max == 41 && to == base - PAGE);
    varve_store_t other = second_store("stranger.varve");
    varve_task_t stranger = NULL;
    OK(varve_task_attach(other, "main", &stranger));
    EXPECT(KERN_INVALID_TASK, varve_vm_remap(task, &to, PAGE, 0, 1, stranger, from, 0, &cur, &max, 1));
    OK(varve_store_close(other));
}

TEST(memory_entries) {
    varve_object_t entry = NULL;
    vm_address_t from = allocate(4), to = 0;
    vm_size_t size = 2 * PAGE;
    *at(from + PAGE) = 5;
    OK(varve_make_memory_entry(task, &size, from + PAGE, VM_PROT_DEFAULT, &entry, NULL));
    CHECK(size == 2 * PAGE);
    OK(varve_vm_map(task, &to, size, 0, 1, entry, 0, 0, VM_PROT_DEFAULT, VM_PROT_DEFAULT, VM_INHERIT_COPY));
    *at(to + PAGE) = 6;
    CHECK(*at(to) == 5 && *at(from + 2 * PAGE) == 6);
    vm_address_t address = 0;
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_map(task, &address, size, 0, 1, entry, 0, 0, 3, VM_PROT_ALL, 1));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_map(task, &address, 3 * PAGE, 0, 1, entry, 0, 0, 3, 3, 1));
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_map(task, &address, PAGE, 0, 1, entry, 2 * PAGE, 0, 3, 3, 1));
    /* The entry keeps its memory. */
    OK(varve_vm_deallocate(task, from, 4 * PAGE));
    OK(varve_vm_deallocate(task, to, 2 * PAGE));
    OK(varve_vm_map(task, &address, PAGE, 0, 1, entry, PAGE, 0, VM_PROT_READ, VM_PROT_READ, VM_INHERIT_COPY));
    CHECK(*at(address) == 6);
    uint64_t number;
    EXPECT(VARVE_INVALID, varve_object_number(entry, &number));
    OK(varve_release(entry));
    EXPECT(KERN_INVALID_OBJECT, varve_vm_map(task, &to, PAGE, 0, 1, entry, 0, 0, 1, 1, 1));
    CHECK(*at(address) == 6);
}

TEST(entries_of_entries_only_narrow) {
    varve_object_t entry = NULL, child = (varve_object_t)9;
    vm_address_t from = allocate(4), to = 0;
    vm_size_t size = 4 * PAGE, part = PAGE;
    *at(from + 2 * PAGE) = 7;
    OK(varve_make_memory_entry(task, &size, from, VM_PROT_DEFAULT, &entry, NULL));
    EXPECT(KERN_PROTECTION_FAILURE, varve_make_memory_entry(task, &part, 0, VM_PROT_ALL, &child, entry));
    EXPECT(KERN_INVALID_ARGUMENT, varve_make_memory_entry(task, &part, 4 * PAGE, VM_PROT_READ, &child, entry));
    size = 5 * PAGE;
    EXPECT(KERN_INVALID_ARGUMENT, varve_make_memory_entry(task, &size, 0, VM_PROT_READ, &child, entry));
    CHECK(child == (varve_object_t)9 && size == 5 * PAGE && part == PAGE);
    OK(varve_make_memory_entry(task, &part, 2 * PAGE, VM_PROT_READ, &child, entry));
    OK(varve_release(entry));
    OK(varve_vm_map(task, &to, PAGE, 0, 1, child, 0, 0, VM_PROT_READ, VM_PROT_READ, VM_INHERIT_COPY));
    CHECK(*at(to) == 7);
    *at(from + 2 * PAGE) = 8;
    CHECK(*at(to) == 8);
}

TEST(entries_of_copies_and_fresh_memory) {
    varve_object_t copy = NULL, fresh = NULL;
    vm_address_t from = allocate(2), to = 0, other = 0;
    vm_size_t size = 2 * PAGE;
    *at(from) = 5;
    OK(varve_make_memory_entry(task, &size, from, VM_PROT_DEFAULT | MAP_MEM_VM_COPY, &copy, NULL));
    *at(from) = 6;
    OK(varve_vm_map(task, &to, size, 0, 1, copy, 0, 0, VM_PROT_DEFAULT, VM_PROT_DEFAULT, VM_INHERIT_COPY));
    CHECK(*at(to) == 5);
    size = PAGE;
    OK(varve_make_memory_entry(task, &size, 0, VM_PROT_DEFAULT | MAP_MEM_NAMED_CREATE, &fresh, NULL));
    CHECK(size == PAGE);
    OK(varve_vm_map(task, &other, size, 0, 1, fresh, 0, 0, VM_PROT_DEFAULT, VM_PROT_DEFAULT, VM_INHERIT_COPY));
    CHECK(*at(other) == 0 && store_raises(other) == 0);
}

TEST(what_entries_refuse) {
    varve_object_t entry = (varve_object_t)9, object = object_of("o", 1, 1);
    vm_address_t from = allocate(4);
    vm_size_t size = PAGE, none = 0;
    OK(varve_vm_protect(task, from + PAGE, PAGE, 1, VM_PROT_READ));
    OK(varve_vm_deallocate(task, from + 2 * PAGE, PAGE));
    EXPECT(KERN_PROTECTION_FAILURE, varve_make_memory_entry(task, &size, from + PAGE, VM_PROT_DEFAULT, &entry, NULL));
    EXPECT(KERN_INVALID_ADDRESS, varve_make_memory_entry(task, &size, from + 2 * PAGE, VM_PROT_READ, &entry, NULL));
    EXPECT(KERN_INVALID_ARGUMENT, varve_make_memory_entry(task, &size, from, 8, &entry, NULL));
    EXPECT(KERN_INVALID_ARGUMENT, varve_make_memory_entry(task, &none, from, 1, &entry, NULL));
    EXPECT(
        KERN_INVALID_ARGUMENT,
        varve_make_memory_entry(task, &size, from, 1 | MAP_MEM_VM_COPY | MAP_MEM_VM_SHARE, &entry, NULL));
    EXPECT(KERN_INVALID_OBJECT, varve_make_memory_entry(task, &size, from, VM_PROT_READ, &entry, object));
    EXPECT(KERN_INVALID_TASK, varve_make_memory_entry((varve_task_t)object, &size, from, VM_PROT_READ, &entry, NULL));
    CHECK(entry == (varve_object_t)9 && size == PAGE);
}
