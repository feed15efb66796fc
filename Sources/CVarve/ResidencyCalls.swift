public import CVarveHeader
internal import Varve

@c @implementation
public func varve_vm_msync(
    _ task: varve_task_t!, _ address: vm_address_t, _ size: vm_size_t, _ sync_flags: vm_sync_t
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        try CVarve.task(task).task.sync(address: address, size: size, SyncFlags(rawValue: sync_flags))
    }
}

@c @implementation
public func varve_vm_behavior_set(
    _ task: varve_task_t!, _ address: vm_address_t, _ size: vm_size_t, _ new_behavior: vm_behavior_t
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let task = try CVarve.task(task).task
        guard let behavior = MemoryBehavior(rawValue: new_behavior) else {
            try requireAlive(task)
            throw VMError(.invalidArgument, "\(new_behavior) is no behaviour")
        }
        try task.setBehavior(address: address, size: size, behavior)
    }
}

@c @implementation
public func varve_vm_wire(
    _ task: varve_task_t!, _ address: vm_address_t, _ size: vm_size_t, _ wired_access: vm_prot_t
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        try CVarve.task(task).task.wire(address: address, size: size, access: Protection(rawValue: wired_access))
    }
}

@c @implementation
public func varve_set_residency(_ store: varve_store_t!, _ limit: UInt64) -> Int32 {
    code { () throws(StoreError) in
        try CVarve.store(store).residency = ResidencyPolicy(limit: limit == 0 ? nil : limit)
    }
}

@c @implementation
public func varve_trim(_ store: varve_store_t!, _ bytes: UInt64, _ left: UnsafeMutablePointer<UInt64>!) -> Int32 {
    code { () throws(StoreError) in
        let found = try CVarve.store(store).trim(to: bytes)
        left?.pointee = found
    }
}
