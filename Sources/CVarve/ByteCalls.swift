public import CVarveHeader
internal import Glibc
internal import Varve

@c @implementation
public func varve_vm_read(
    _ task: varve_task_t!, _ address: vm_address_t, _ size: vm_size_t, _ data: UnsafeMutablePointer<UnsafeMutableRawPointer?>!,
    _ data_count: UnsafeMutablePointer<vm_size_t>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let task = try CVarve.task(task).task
        let result = try argument(data, "data", task)
        let count = try argument(data_count, "data_count", task)
        if size == 0 {
            try requireAlive(task)
            result.pointee = nil
        } else {
            // No range of a task is longer than its window: the call says what is wrong with such a one.
            guard let buffer = malloc(Int(min(size, task.windowSize + 1))) else {
                try requireReadable(task, address, size)
                throw VMError(.resourceShortage, "there is no memory for \(size) bytes")
            }
            do throws(VMError) {
                try task.readOverwrite(address: address, size: size, into: buffer)
            } catch {
                free(buffer)
                throw error
            }
            result.pointee = buffer
        }
        count.pointee = size
    }
}

/// What reading a range would be refused for.
private func requireReadable(_ task: VMTask, _ address: UInt64, _ size: UInt64) throws(VMError) {
    let end = try byteRange(task, address, size).upperBound
    var next = address
    while next < end {
        let region = try task.region(next)
        guard region.start <= next else { throw VMError(.invalidAddress, "nothing is mapped at 0x\(String(next, radix: 16))") }
        guard region.current.contains(.read) else {
            throw VMError(.protectionFailure, "0x\(String(next, radix: 16)) may not be read")
        }
        next = region.end
    }
}

/// A range of bytes that lies in a task's window.
private func byteRange(_ task: VMTask, _ address: UInt64, _ size: UInt64) throws(VMError) -> Range<UInt64> {
    let (end, overflow) = address.addingReportingOverflow(size)
    guard !overflow else {
        throw VMError(.invalidArgument, "\(size) bytes at 0x\(String(address, radix: 16)) pass the end of 64 bits")
    }
    guard address >= task.windowBase, end <= task.windowBase + task.windowSize else {
        throw VMError(.invalidAddress, "\(size) bytes at 0x\(String(address, radix: 16)) lie outside the task's window")
    }
    return address..<end
}

@c @implementation
public func varve_free(_ data: UnsafeMutableRawPointer!) { free(data) }

@c @implementation
public func varve_vm_read_overwrite(
    _ task: varve_task_t!, _ address: vm_address_t, _ size: vm_size_t, _ data: UnsafeMutableRawPointer!,
    _ out_size: UnsafeMutablePointer<vm_size_t>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let task = try CVarve.task(task).task
        if size == 0 {
            try requireAlive(task)
        } else {
            try task.readOverwrite(address: address, size: size, into: try argument(data, "data", task))
        }
        out_size?.pointee = size
    }
}

@c @implementation
public func varve_vm_write(
    _ task: varve_task_t!, _ address: vm_address_t, _ data: UnsafeRawPointer!, _ data_count: vm_size_t
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let task = try CVarve.task(task).task
        if data_count == 0 { return try requireAlive(task) }
        let data = try argument(data, "data", task)
        guard let count = Int(exactly: data_count) else {
            try requireAlive(task)
            _ = try byteRange(task, address, data_count)
            return
        }
        try task.write(address: address, UnsafeRawBufferPointer(start: data, count: count))
    }
}

@c @implementation
public func varve_vm_copy(
    _ task: varve_task_t!, _ source_address: vm_address_t, _ size: vm_size_t, _ dest_address: vm_address_t
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        try CVarve.task(task).task.copy(source: source_address, size: size, destination: dest_address)
    }
}
