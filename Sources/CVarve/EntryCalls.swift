public import CVarveHeader
internal import Varve

@c @implementation
public func varve_make_memory_entry(
    _ task: varve_task_t!, _ size: UnsafeMutablePointer<vm_size_t>!, _ offset: vm_offset_t, _ permission: vm_prot_t,
    _ entry: UnsafeMutablePointer<varve_object_t?>!, _ parent: varve_object_t!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let handle = try CVarve.task(task)
        let size = try argument(size, "size", handle.task)
        let result = try argument(entry, "entry", handle.task)
        let (kind, rights) = try entryKind(permission, handle.task)
        let parent = try memoryEntry(parent, for: handle)
        let made = try handle.task.makeMemoryEntry(
            address: offset, size: size.pointee, permission: rights, kind: kind, parent: parent)
        result.pointee = try newHandle(ofTask: ObjectHandle(.entry(made), of: handle.store))
        size.pointee = made.size
    }
}

/// Takes the flags out of the permission; what else is no protection bit stays in it, for the call to refuse.
private func entryKind(_ permission: vm_prot_t, _ task: VMTask) throws(VMError) -> (MemoryEntry.Kind, Protection) {
    let flags = Int(permission) & (MAP_MEM_NAMED_CREATE | MAP_MEM_VM_COPY | MAP_MEM_VM_SHARE)
    let rights = Protection(rawValue: permission & ~Int32(flags))
    switch flags {
    case 0, MAP_MEM_VM_SHARE: return (.share, rights)
    case MAP_MEM_VM_COPY: return (.copy, rights)
    case MAP_MEM_NAMED_CREATE: return (.fresh, rights)
    default:
        try requireAlive(task)
        throw VMError(.invalidArgument, "more than one of MAP_MEM_NAMED_CREATE, MAP_MEM_VM_COPY and MAP_MEM_VM_SHARE")
    }
}
