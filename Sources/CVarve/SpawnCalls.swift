public import CVarveHeader
internal import Varve

@c @implementation
public func varve_task_spawn(
    _ task: varve_task_t!, _ path: UnsafePointer<CChar>!, _ arguments: UnsafePointer<UnsafePointer<CChar>?>!,
    _ environment: UnsafePointer<UnsafePointer<CChar>?>!, _ descriptors: UnsafePointer<varve_descriptor_t>!, _ count: Int,
    _ process: UnsafeMutablePointer<Int32>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let task = try CVarve.task(task).task
        let path = try argument(path, "path", task)
        let result = try argument(process, "process", task)
        guard let executable = String(validatingCString: path), let words = strings(arguments), let variables = strings(environment),
            count >= 0, count == 0 || descriptors != nil
        else {
            try requireAlive(task)
            throw VMError(.invalidArgument, "a string is not UTF-8, or descriptors are missing")
        }
        var given: [Int32: Int32] = [:]
        for index in 0..<count { given[descriptors[index].number] = descriptors[index].source }
        var pairs: [String: String]?
        if environment != nil {
            var found: [String: String] = [:]
            for line in variables {
                guard let equals = line.firstIndex(of: "=") else { continue }
                found[String(line[..<equals])] = String(line[line.index(after: equals)...])
            }
            pairs = found
        }
        result.pointee = try task.spawn(executable, arguments: words, environment: pairs, descriptors: given).id
    }
}

/// The strings of a list that NULL ends; nil where one is not UTF-8.
private func strings(_ list: UnsafePointer<UnsafePointer<CChar>?>?) -> [String]? {
    guard var next = list else { return [] }
    var found: [String] = []
    while let text = next.pointee {
        guard let string = String(validatingCString: text) else { return nil }
        found.append(string)
        next += 1
    }
    return found
}

@c @implementation
public func varve_task_inherited(_ task: UnsafeMutablePointer<varve_task_t?>!) -> Int32 {
    code { () throws(StoreError) in
        let result = try required(task, "task")
        try requireNoFork()
        result.pointee = try newHandle(RemoteTaskHandle(try RemoteTask.inherited()))
    }
}

@c @implementation
public func varve_inherited_commit(
    _ task: varve_task_t!, _ message: UnsafePointer<CChar>!, _ flags: UInt32, _ version: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    code { () throws(StoreError) in
        guard let found = remoteTask(task) else {
            throw StoreError(.invalid, "the handle is no inherited task's", advice: "Give what varve_task_inherited gave")
        }
        let made = try commit(found.store, message, flags)
        version?.pointee = made.rawValue
    }
}
