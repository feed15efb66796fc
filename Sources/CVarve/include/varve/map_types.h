#ifndef VARVE_MAP_TYPES_H
#define VARVE_MAP_TYPES_H

#include <stdint.h>

typedef uint64_t vm_address_t;
typedef uint64_t vm_size_t;
typedef uint64_t vm_offset_t;

/* What accesses memory allows. */
typedef int vm_prot_t;
enum {
    VM_PROT_NONE = 0,
    VM_PROT_READ = 1,
    VM_PROT_WRITE = 2,
    VM_PROT_EXECUTE = 4,
    VM_PROT_DEFAULT = VM_PROT_READ | VM_PROT_WRITE,
    VM_PROT_ALL = VM_PROT_READ | VM_PROT_WRITE | VM_PROT_EXECUTE
};

/* What a child task receives of a region. */
typedef int vm_inherit_t;
enum {
    VM_INHERIT_SHARE = 0, /* parent and child see each other's stores */
    VM_INHERIT_COPY = 1,  /* the contents as they are when the child is made */
    VM_INHERIT_NONE = 2,  /* nothing lies there in the child */
    VM_INHERIT_DEFAULT = VM_INHERIT_COPY
};

/* A task: a persistent address space. */
typedef struct varve_task *varve_task_t;

/* What vm_map maps: an object, a port to one that permits fewer accesses, or a memory entry. */
typedef struct varve_object *varve_object_t;

/* Maps zero-filled memory. A handle that was released is not this, but KERN_INVALID_OBJECT. */
#define MEMORY_OBJECT_NULL ((varve_object_t)0)

#endif
