public import CVarveHeader
internal import Varve

/// Says what no call says that fails before it reaches its task: that the task has ended.
func requireAlive(_ task: VMTask) throws(VMError) { try task.inherit(address: 0, size: 0, .copy) }

/// Says so for an argument that is NULL or means nothing, of a call of a task of a store that another process serves.
private func refusal(_ what: String, _ task: RemoteTask) throws(VMError) -> VMError {
    try task.inherit(address: 0, size: 0, .copy)
    return VMError(.invalidArgument, what)
}

/// What a child receives, of a number that may mean nothing. The task comes first in the order of checks.
func inheritance(_ number: vm_inherit_t, _ task: VMTask) throws(VMError) -> Inheritance {
    if let known = Inheritance(rawValue: number) { return known }
    try requireAlive(task)
    throw VMError(.invalidArgument, "\(number) is no inheritance")
}

/// A pointer that must be there. The task comes first in the order of checks.
func argument<Pointer>(_ pointer: Pointer?, _ what: String, _ task: VMTask) throws(VMError) -> Pointer {
    if let pointer { return pointer }
    try requireAlive(task)
    throw VMError(.invalidArgument, "\(what) is NULL")
}

@c @implementation
public func varve_vm_map(
    _ task: varve_task_t!, _ address: UnsafeMutablePointer<vm_address_t>!, _ size: vm_size_t, _ mask: vm_address_t,
    _ anywhere: boolean_t, _ object: varve_object_t!, _ offset: vm_offset_t, _ copy: boolean_t, _ cur: vm_prot_t,
    _ max: vm_prot_t, _ inheritance: vm_inherit_t
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        if let remote = remoteTask(task) {
            guard let address, let handed = Inheritance(rawValue: inheritance) else {
                throw try refusal("address is NULL, or \(inheritance) is no inheritance", remote)
            }
            try remote.inherit(address: 0, size: 0, .copy)
            address.pointee = try remote.map(
                address: address.pointee, size: size, mask: mask, anywhere: anywhere != 0, object: try remoteObject(object),
                offset: offset, copy: copy != 0, current: Protection(rawValue: cur), maximum: Protection(rawValue: max),
                inheritance: handed)
            return
        }
        let handle = try CVarve.task(task)
        let place = try argument(address, "address", handle.task)
        place.pointee = try handle.task.map(
            address: place.pointee, size: size, mask: mask, anywhere: anywhere != 0, object: port(object, for: handle),
            offset: offset, copy: copy != 0, current: Protection(rawValue: cur), maximum: Protection(rawValue: max),
            inheritance: try CVarve.inheritance(inheritance, handle.task))
    }
}

@c @implementation
public func varve_vm_allocate(
    _ task: varve_task_t!, _ address: UnsafeMutablePointer<vm_address_t>!, _ size: vm_size_t, _ anywhere: boolean_t
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        if let remote = remoteTask(task) {
            guard let address else { throw try refusal("address is NULL", remote) }
            address.pointee = try remote.allocate(address: address.pointee, size: size, anywhere: anywhere != 0)
            return
        }
        let task = try CVarve.task(task).task
        let place = try argument(address, "address", task)
        place.pointee = try task.allocate(address: place.pointee, size: size, anywhere: anywhere != 0)
    }
}

@c @implementation
public func varve_vm_deallocate(_ task: varve_task_t!, _ address: vm_address_t, _ size: vm_size_t) -> kern_return_t {
    kernReturn { () throws(VMError) in
        if let remote = remoteTask(task) { return try remote.deallocate(address: address, size: size) }
        try CVarve.task(task).task.deallocate(address: address, size: size)
    }
}

@c @implementation
public func varve_vm_protect(
    _ task: varve_task_t!, _ address: vm_address_t, _ size: vm_size_t, _ set_maximum: boolean_t, _ protection: vm_prot_t
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        if let remote = remoteTask(task) {
            return try remote.protect(
                address: address, size: size, setMaximum: set_maximum != 0, Protection(rawValue: protection))
        }
        try CVarve.task(task).task.protect(
            address: address, size: size, setMaximum: set_maximum != 0, Protection(rawValue: protection))
    }
}

@c @implementation
public func varve_vm_inherit(
    _ task: varve_task_t!, _ address: vm_address_t, _ size: vm_size_t, _ inheritance: vm_inherit_t
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        if let remote = remoteTask(task) {
            guard let handed = Inheritance(rawValue: inheritance) else {
                throw try refusal("\(inheritance) is no inheritance", remote)
            }
            return try remote.inherit(address: address, size: size, handed)
        }
        let task = try CVarve.task(task).task
        try task.inherit(address: address, size: size, try CVarve.inheritance(inheritance, task))
    }
}

@c @implementation
public func varve_vm_remap(
    _ task: varve_task_t!, _ address: UnsafeMutablePointer<vm_address_t>!, _ size: vm_size_t, _ mask: vm_address_t,
    _ anywhere: boolean_t, _ source: varve_task_t!, _ source_address: vm_address_t, _ copy: boolean_t,
    _ cur: UnsafeMutablePointer<vm_prot_t>!, _ max: UnsafeMutablePointer<vm_prot_t>!, _ inheritance: vm_inherit_t
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let target = try CVarve.task(task)
        let place = try argument(address, "address", target.task)
        let origin = try sourceTask(source, for: target)
        guard let handed = Inheritance(rawValue: inheritance) else {
            try requireAlive(target.task)
            guard !origin.isTerminated else { throw VMError(.invalidTask, "the source task '\(origin.name)' was terminated") }
            throw VMError(.invalidArgument, "\(inheritance) is no inheritance")
        }
        let made = try target.task.remap(
            address: place.pointee, size: size, mask: mask, anywhere: anywhere != 0, source: origin,
            sourceAddress: source_address, copy: copy != 0, inheritance: handed)
        place.pointee = made.address
        cur?.pointee = made.current.rawValue
        max?.pointee = made.maximum.rawValue
    }
}

/// The task that memory is taken of. The one that it is mapped in comes first in the order of checks.
private func sourceTask(_ handle: varve_task_t?, for target: TaskHandle) throws(VMError) -> VMTask {
    if let origin = try? task(handle), origin.store === target.store { return origin.task }
    try requireAlive(target.task)
    let stranger = try task(handle)
    throw VMError(.invalidTask, "task '\(stranger.task.name)' is another store's than task '\(target.task.name)'")
}
