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
    kernReturn { () throws(VMError) in try CVarve.task(task).task.terminate() }
}

@c @implementation
public func varve_task_window(
    _ task: varve_task_t!, _ base: UnsafeMutablePointer<vm_address_t>!, _ size: UnsafeMutablePointer<vm_size_t>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
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
