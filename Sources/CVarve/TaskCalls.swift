public import CVarveHeader
internal import Varve

@c @implementation
public func varve_task_attach(
    _ store: varve_store_t!, _ name: UnsafePointer<CChar>!, _ task: UnsafeMutablePointer<varve_task_t?>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let result = try required(task, "task")
        let attached = try store.task(named: try text(name, "the task's name"))
        result.pointee = try newHandle(TaskHandle(attached, of: store))
    }
}

@c @implementation
public func varve_task_create(
    _ parent: varve_task_t!, _ name: UnsafePointer<CChar>!, _ inherit: boolean_t, _ child: UnsafeMutablePointer<varve_task_t?>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let parent = try task(parent)
        let result = try argument(child, "child", parent.task)
        let bytes = try argument(name, "name", parent.task)
        guard let name = String(validatingCString: bytes) else {
            try requireAlive(parent.task)
            throw VMError(.invalidArgument, "the task's name is not UTF-8")
        }
        let made = try parent.task.createChild(named: name, inherits: inherit != 0)
        result.pointee = try newHandle(ofTask: TaskHandle(made, of: parent.store))
    }
}

@c @implementation
public func varve_task_terminate(_ task: varve_task_t!) -> kern_return_t {
    kernReturn { () throws(VMError) in
        if let remote = remoteTask(task) { return try remote.terminate() }
        try CVarve.task(task).task.terminate()
    }
}

@c @implementation
public func varve_task_list(
    _ store: varve_store_t!, _ state: UnsafePointer<CChar>!, _ visitor: varve_task_visitor_t!, _ context: UnsafeMutableRawPointer!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let visitor = try required(visitor, "visitor")
        for name in try store.taskNames(at: try CVarve.state(state)) {
            if name.withCString({ visitor(context, $0) }) != 0 { return }
        }
    }
}

@c @implementation
public func varve_task_clone(
    _ store: varve_store_t!, _ name: UnsafePointer<CChar>!, _ state: UnsafePointer<CChar>!, _ new_name: UnsafePointer<CChar>!,
    _ task: UnsafeMutablePointer<varve_task_t?>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let result = try required(task, "task")
        let made = try store.cloneTask(
            named: try text(name, "the task's name"), at: try CVarve.state(state), as: try text(new_name, "the new name"))
        result.pointee = try newHandle(TaskHandle(made, of: store))
    }
}

@c @implementation
public func varve_task_map_state(
    _ store: varve_store_t!, _ name: UnsafePointer<CChar>!, _ state: UnsafePointer<CChar>!,
    _ mapped: UnsafeMutablePointer<varve_state_t?>!, _ shift: UnsafeMutablePointer<Int64>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let result = try required(mapped, "mapped")
        let place = try required(shift, "shift")
        let found = try store.mapTask(named: try text(name, "the task's name"), at: try CVarve.state(state))
        result.pointee = try newHandle(StateHandle(found))
        place.pointee = found.shift
    }
}

@c @implementation
public func varve_task_window(
    _ task: varve_task_t!, _ base: UnsafeMutablePointer<vm_address_t>!, _ size: UnsafeMutablePointer<vm_size_t>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        if let remote = remoteTask(task) {
            base?.pointee = remote.windowBase
            size?.pointee = remote.windowSize
            return
        }
        let task = try CVarve.task(task).task
        base?.pointee = task.windowBase
        size?.pointee = task.windowSize
    }
}

@c @implementation
public func varve_task_touch(_ task: varve_task_t!, _ address: vm_address_t, _ size: vm_size_t) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let task = try CVarve.task(task).task
        task.touch(address: address, size: size)
    }
}
