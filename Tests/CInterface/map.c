/* vm_map and vm_allocate: rounding, order of checks, placement. */
#include "check.h"

#include <signal.h>

#define MAP_AT(address, size) \
    varve_vm_map(task, address, size, 0, FIXED, MEMORY_OBJECT_NULL, 0, 0, VM_PROT_DEFAULT, VM_PROT_ALL, VM_INHERIT_COPY)

TEST(address_and_size_are_rounded_by_themselves) {
    vm_address_t address = base + PAGE - 1, start = 0;
    vm_size_t size = 0;
    OK(MAP_AT(&address, 2));
    CHECK(address == base);
    region_at(task, base, &start, &size);
    CHECK(start == base && size == PAGE);
    CHECK(!is_mapped(task, base + PAGE));

    address = base + 4 * PAGE + 7;
    OK(varve_vm_allocate(task, &address, PAGE + 1, FIXED));
    CHECK(address == base + 4 * PAGE);
    region_at(task, address, &start, &size);
    CHECK(size == 2 * PAGE);
}

TEST(sizes_that_mean_nothing) {
    vm_address_t address = base;
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AT(&address, 0));
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AT(&address, UINT64_MAX));
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AT(&address, UINT64_MAX - PAGE + 2));
    CHECK(address == base);
    OK(varve_vm_allocate(task, &address, 0, 1));
    CHECK(address == 0);
    address = base;
    EXPECT(KERN_INVALID_ARGUMENT, varve_vm_allocate(task, &address, UINT64_MAX, 1));
    CHECK(address == base);
    address = UINT64_MAX - PAGE;
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AT(&address, 2 * PAGE));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_allocate(task, &address, 2 * PAGE, FIXED));
    CHECK(address == UINT64_MAX - PAGE);
}

TEST(fixed_places) {
    vm_address_t address = base + 4 * PAGE, before, after, middle, outside, inside;
    OK(MAP_AT(&address, 2 * PAGE));
    before = base + 3 * PAGE, after = base + 6 * PAGE;
    OK(MAP_AT(&before, PAGE));
    OK(MAP_AT(&after, PAGE));
    for (uint64_t page = 2; page < 7; page++) {
        middle = base + page * PAGE;
        EXPECT(KERN_NO_SPACE, MAP_AT(&middle, 2 * PAGE));
        CHECK(middle == base + page * PAGE);
    }
    vm_size_t window = 0;
    OK(varve_task_window(task, NULL, &window));
    outside = base - PAGE;
    EXPECT(KERN_INVALID_ADDRESS, MAP_AT(&outside, PAGE));
    EXPECT(KERN_INVALID_ADDRESS, MAP_AT(&outside, 2 * PAGE));
    outside = base + window;
    EXPECT(KERN_INVALID_ADDRESS, MAP_AT(&outside, PAGE));
    EXPECT(KERN_INVALID_ADDRESS, varve_vm_allocate(task, &outside, PAGE, FIXED));
    outside = 0;
    EXPECT(KERN_INVALID_ADDRESS, MAP_AT(&outside, PAGE));
    inside = base + window - PAGE;
    EXPECT(KERN_INVALID_ADDRESS, MAP_AT(&inside, 2 * PAGE));
    OK(MAP_AT(&inside, PAGE));

    address = base + 32 * PAGE;
    EXPECT(
        KERN_NO_SPACE, varve_vm_map(
            task, &address, PAGE, 32 * PAGE | (base & -base), FIXED, NULL, 0, 0, VM_PROT_READ, VM_PROT_ALL, 1));
    address = base + 32 * PAGE + 1;
    OK(varve_vm_map(task, &address, PAGE, 4095, FIXED, NULL, 0, 0, VM_PROT_READ, VM_PROT_ALL, 1));
    CHECK(address == base + 32 * PAGE);
}

TEST(anywhere_takes_the_lowest_place_that_fits) {
    static const vm_address_t masks[] = {0, 4095, 0xffff, 0x5000, 0x12000, 0x20000, 0x7f000, 1};
    vm_address_t taken[] = {base, base + 3 * PAGE, base + 17 * PAGE, base + 40 * PAGE};
    for (int index = 0; index < 4; index++) OK(MAP_AT(&taken[index], 2 * PAGE));
    for (unsigned index = 0; index < sizeof masks / sizeof *masks; index++) {
        for (uint64_t pages = 1; pages < 16; pages += 3) {
            for (uint64_t hint = 0; hint < 44; hint += 5) {
                vm_address_t wanted = base + hint * PAGE, address = wanted + 100 % PAGE;
                for (;; wanted += PAGE) {
                    int is_free = (wanted & masks[index]) == 0;
                    for (int other = 0; other < 4; other++) {
                        is_free &= wanted >= taken[other] + 2 * PAGE || wanted + pages * PAGE <= taken[other];
                    }
                    if (is_free) break;
                }
                OK(varve_vm_map(
                    task, &address, pages * PAGE, masks[index], ANYWHERE, NULL, 0, 0, VM_PROT_READ, VM_PROT_ALL, 1));
                CHECK(address == wanted);
                OK(varve_vm_deallocate(task, address, pages * PAGE));
            }
        }
    }
}

TEST(anywhere_finds_nothing) {
    vm_size_t window = 0;
    OK(varve_task_window(task, NULL, &window));
    vm_address_t address = base + window, was = address;
    EXPECT(KERN_NO_SPACE, varve_vm_allocate(task, &address, PAGE, 1));
    CHECK(address == was);
    address = base;
    EXPECT(KERN_NO_SPACE, varve_vm_allocate(task, &address, window + PAGE, 1));
    /* No wrap-around: what is free lies below the hint. */
    address = base + window - PAGE;
    EXPECT(KERN_NO_SPACE, varve_vm_allocate(task, &address, 2 * PAGE, 1));
    EXPECT(
        KERN_NO_SPACE,
        varve_vm_map(task, &address, PAGE, UINT64_MAX, 7, NULL, 0, 0, VM_PROT_READ, VM_PROT_ALL, VM_INHERIT_NONE));
}

#define MAP_AS(object, offset, size, copy, cur, max, inherit) \
    varve_vm_map(task, &address, size, 0, ANYWHERE, object, offset, copy, cur, max, inherit)

TEST(protections_and_inheritance) {
    vm_address_t address = 77;
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(NULL, 0, PAGE, 0, 8, VM_PROT_ALL, 1));
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(NULL, 0, PAGE, 0, 3, 15, 1));
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(NULL, 0, PAGE, 0, -1, -1, 1));
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(NULL, 0, PAGE, 0, VM_PROT_DEFAULT, VM_PROT_READ, 1));
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(NULL, 0, PAGE, 0, 3, 7, 3));
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(NULL, 0, PAGE, 0, 3, 7, -1));
    CHECK(address == 77);
    for (int inherit = 0; inherit <= 2; inherit++) {
        address = 0;
        OK(MAP_AS(NULL, 0, PAGE, 0, VM_PROT_READ, VM_PROT_DEFAULT, inherit));
        varve_region_info_t info = region_at(task, address, NULL, NULL);
        CHECK(info.protection == VM_PROT_READ && info.max_protection == VM_PROT_DEFAULT && info.inheritance == inherit);
        CHECK(load_raises(address) == 0 && store_raises(address) == SIGSEGV);
    }
}

TEST(the_null_object_is_zero_filled_memory) {
    vm_address_t address = 0;
    OK(MAP_AS(MEMORY_OBJECT_NULL, 12345, 3 * PAGE, 1, VM_PROT_DEFAULT, VM_PROT_ALL, 1));
    for (uint64_t offset = 0; offset < 3 * PAGE; offset += 512) CHECK(*at(address + offset) == 0);
    *at(address + 2 * PAGE) = 9;
    CHECK(*at(address + 2 * PAGE) == 9);
    CHECK(!region_at(task, address, NULL, NULL).shared);
}

TEST(offsets) {
    varve_object_t object = object_of("o", 4, 1);
    vm_address_t address = 0;
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(object, 1, PAGE, 0, 3, 7, 1));
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(object, PAGE + 512, PAGE, 0, 3, 7, 1));
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(object, UINT64_MAX - PAGE + 1, PAGE, 0, 3, 7, 1));
    EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(object, UINT64_MAX - 2 * PAGE + 1, 3 * PAGE, 0, 3, 7, 1));
    OK(MAP_AS(object, 2 * PAGE, 4 * PAGE, 0, 3, 7, 1));
    CHECK(*at(address) == 3 && *at(address + PAGE) == 4);
    /* The access decides. */
    CHECK(load_raises(address + 2 * PAGE) == SIGBUS && store_raises(address + 3 * PAGE) == SIGBUS);
    address = 0;
    OK(MAP_AS(object, 64 * PAGE, PAGE, 0, 3, 7, 1));
    CHECK(load_raises(address) == SIGBUS);
}

TEST(what_is_no_object_is_refused) {
    varve_object_t object = object_of("o", 1, 1), released = NULL, foreign = NULL;
    vm_address_t address = 0;
    OK(varve_object_open(store, "o", &released));
    OK(varve_release(released));
    varve_store_t other = second_store("other.varve");
    OK(varve_object_create(other, "o", PAGE, 0, NULL, &foreign));
    int local;
    varve_object_t none[] = {released, (varve_object_t)task, (varve_object_t)store, foreign, (varve_object_t)&local,
                             (varve_object_t)1, (varve_object_t)UINTPTR_MAX};
    for (unsigned index = 0; index < sizeof none / sizeof *none; index++) {
        EXPECT(KERN_INVALID_OBJECT, MAP_AS(none[index], 0, PAGE, 0, 3, 7, 1));
        EXPECT(KERN_INVALID_OBJECT, MAP_AS(none[index], 0, PAGE, 1, 1, 1, 1));
        /* What comes before the object is said first, what comes after is not said. */
        EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(none[index], 0, 0, 0, 3, 7, 1));
        EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(none[index], 0, PAGE, 0, 3, 7, 9));
        EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(none[index], 0, PAGE, 0, 8, 8, 1));
        EXPECT(KERN_INVALID_ARGUMENT, MAP_AS(none[index], UINT64_MAX - PAGE + 1, 2 * PAGE, 0, 3, 7, 1));
        address = base - PAGE;
        EXPECT(KERN_INVALID_OBJECT, varve_vm_map(task, &address, PAGE, 0, FIXED, none[index], 0, 0, 3, 7, 1));
        address = 0;
    }
    OK(varve_store_close(other));
    EXPECT(KERN_INVALID_OBJECT, MAP_AS(foreign, 0, PAGE, 0, 3, 7, 1));
    OK(varve_object_delete(store, "o", NULL));
    EXPECT(KERN_INVALID_OBJECT, MAP_AS(object, 0, PAGE, 0, 3, 7, 1));
    EXPECT(KERN_INVALID_OBJECT, MAP_AS(object, 0, PAGE, 1, 3, 7, 1));
    CHECK(address == 0);
}

TEST(ports_limit_what_mappings_may_do) {
    varve_object_t object = object_of("o", 2, 1), reading = NULL, writing = NULL, none = (varve_object_t)5;
    vm_address_t address = 0;
    OK(varve_object_port(object, VM_PROT_READ, &reading));
    OK(varve_object_port(object, VM_PROT_WRITE, &writing));
    EXPECT(VARVE_INVALID, varve_object_port(object, 8, &none));
    EXPECT(VARVE_INVALID, varve_object_port(reading, VM_PROT_READ, &none));
    CHECK(none == (varve_object_t)5);
    EXPECT(KERN_PROTECTION_FAILURE, MAP_AS(reading, 0, PAGE, 0, VM_PROT_DEFAULT, VM_PROT_DEFAULT, 1));
    EXPECT(KERN_PROTECTION_FAILURE, MAP_AS(reading, 0, PAGE, 0, VM_PROT_READ, VM_PROT_ALL, 1));
    EXPECT(KERN_PROTECTION_FAILURE, MAP_AS(writing, 0, PAGE, 1, VM_PROT_READ, VM_PROT_READ, 1));
    address = base - PAGE;
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_map(task, &address, PAGE, 0, FIXED, reading, 0, 0, 3, 3, 1));
    address = 0;
    OK(MAP_AS(reading, 0, PAGE, 0, VM_PROT_READ, VM_PROT_READ, 1));
    CHECK(*at(address) == 1 && store_raises(address) == SIGSEGV);
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_protect(task, address, PAGE, 0, VM_PROT_DEFAULT));
    address = 0;
    OK(MAP_AS(reading, 0, PAGE, 1, VM_PROT_DEFAULT, VM_PROT_ALL, 1));
    *at(address) = 50;
    CHECK(*at(address) == 50);
    uint64_t number = 0, same = 1;
    OK(varve_object_number(object, &number));
    OK(varve_object_number(reading, &same));
    CHECK(number == same && number != 0);
}

TEST(mappings_of_an_object_are_the_object) {
    varve_object_t object = object_of("o", 2, 1);
    varve_task_t other = NULL;
    OK(varve_task_attach(store, "other", &other));
    vm_address_t first = map_object(task, object, 2, 0), second = map_object(task, object, 2, 0);
    vm_address_t third = map_object(other, object, 2, 0);
    CHECK(first != second && *at(first) == 1 && *at(second + PAGE) == 2 && *at(third + PAGE) == 2);
    *at(first) = 11;
    *at(third + PAGE) = 22;
    CHECK(*at(second) == 11 && *at(third) == 11 && *at(first + PAGE) == 22 && *at(second + PAGE) == 22);
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    unsigned char byte = 0;
    OK(varve_read(store, "o", PAGE, &byte, 1, NULL));
    CHECK(byte == 22);
}

TEST(copies_are_of_the_moment) {
    varve_object_t object = object_of("o", 4, 1);
    vm_address_t shared = map_object(task, object, 4, 0);
    *at(shared + PAGE) = 100;
    vm_address_t copy = map_object(task, object, 4, 1);
    CHECK(*at(copy) == 1 && *at(copy + PAGE) == 100);
    *at(shared) = 7;
    *at(shared + PAGE) = 8;
    CHECK(*at(copy) == 1 && *at(copy + PAGE) == 100);
    *at(copy + 2 * PAGE) = 9;
    CHECK(*at(shared + 2 * PAGE) == 3);
    vm_address_t second = map_object(task, object, 4, 1);
    CHECK(*at(second) == 7 && *at(second + 2 * PAGE) == 3);
    *at(shared) = 17;
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(*at(copy) == 1 && *at(second) == 7);
    reopen();
    CHECK(*at(copy) == 1 && *at(copy + PAGE) == 100 && *at(copy + 2 * PAGE) == 9 && *at(second) == 7 && *at(shared) == 17);
}

TEST(an_exclusive_object_is_shared_by_a_second_mapping) {
    varve_object_t object = NULL;
    OK(varve_object_create(store, "o", 2 * PAGE, VARVE_OBJECT_EXCLUSIVE, "made", &object));
    vm_address_t first = map_object(task, object, 2, 0), address = 5;
    *at(first) = 2;
    address = 0;
    OK(MAP_AS(object, 0, PAGE, 0, 3, 7, 1));
    CHECK(*at(address) == 2);
    *at(address) = 3;
    CHECK(*at(first) == 3);
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    OK(varve_vm_deallocate(task, first + PAGE, PAGE));
    CHECK(*at(first) == 3);
    OK(varve_vm_deallocate(task, address, PAGE));
    OK(varve_vm_deallocate(task, first, PAGE));
    first = map_object(task, object, 2, 0);
    CHECK(*at(first) == 3);
    EXPECT(VARVE_INVALID, varve_object_create(store, "p", PAGE, 2, NULL, &object));
}
