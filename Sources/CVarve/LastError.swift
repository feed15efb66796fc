public import CVarveHeader
internal import Glibc
internal import Varve

/// What the last failing call of each thread has to say, in memory that C may read.
enum LastError {
    /// Frees a thread's error when the thread ends. Nil where the process has no key left: then nobody is told more than
    /// the code.
    private static let key: pthread_key_t? = {
        var key = pthread_key_t()
        return pthread_key_create(&key) { free($0) } == 0 ? key : nil
    }()

    /// Nothing has failed yet, or there is no memory to say more.
    private nonisolated(unsafe) static let none: UnsafePointer<varve_error_t> = {
        let empty = UnsafePointer(UnsafeMutablePointer<CChar>.allocate(capacity: 1).initialized(to: 0))
        return UnsafePointer(
            UnsafeMutablePointer<varve_error_t>.allocate(capacity: 1).initialized(
                to: varve_error_t(
                    code: 0, error_number: 0, name: Codes.name(0), message: empty, advice: empty, path: nil, text: empty)))
    }()

    static var current: UnsafePointer<varve_error_t> {
        guard let key, let known = pthread_getspecific(key) else { return none }
        return UnsafePointer(known.assumingMemoryBound(to: varve_error_t.self))
    }

    static func record(_ error: VMError) -> kern_return_t {
        record(code: error.code.rawValue, message: error.message, text: error.description)
        return error.code.rawValue
    }

    static func record(_ error: StoreError) -> Int32 {
        let code = Codes.number(error.code)
        record(
            code: code, errno: error.errno ?? 0, message: error.message, advice: error.advice, path: error.path,
            text: error.description)
        return code
    }

    static func record(_ error: HeapError) -> Int32 {
        if let cause = error.cause { return record(cause) }
        let code = Codes.number(error)
        record(code: code, message: error.message, advice: error.advice, text: error.description)
        return code
    }

    /// Nothing went wrong: the program wanted it so.
    static func recordAborted() -> Int32 {
        let message = "the transaction was aborted by its body"
        record(code: Codes.aborted, message: message, text: message)
        return Codes.aborted
    }

    /// One block holds the error and its strings: `free` ends both.
    private static func record(
        code: Int32, errno: Int32 = 0, message: String, advice: String = "", path: String? = nil, text: String
    ) {
        guard let key else { return }
        let strings = [message, advice, text] + (path.map { [$0] } ?? [])
        let head = MemoryLayout<varve_error_t>.size
        guard let block = malloc(strings.reduce(head) { $0 + $1.utf8.count + 1 }) else { return }
        var places: [UnsafePointer<CChar>] = []
        var end = (block + head).assumingMemoryBound(to: CChar.self)
        for string in strings {
            places.append(UnsafePointer(end))
            for byte in string.utf8 {
                // A zero byte would end the string.
                end.initialize(to: byte == 0 ? 0x3f : CChar(bitPattern: byte))
                end += 1
            }
            end.initialize(to: 0)
            end += 1
        }
        block.bindMemory(to: varve_error_t.self, capacity: 1).initialize(
            to: varve_error_t(
                code: code, error_number: errno, name: Codes.name(code), message: places[0], advice: places[1],
                path: path == nil ? nil : places[3], text: places[2]))
        let before = pthread_getspecific(key)
        if pthread_setspecific(key, block) == 0 { free(before) } else { free(block) }
    }
}

extension UnsafeMutablePointer {
    fileprivate func initialized(to value: Pointee) -> Self {
        initialize(to: value)
        return self
    }
}

/// Runs a call of the vm_map family and answers its code.
@inline(__always) func kernReturn(_ body: () throws(VMError) -> Void) -> kern_return_t {
    do throws(VMError) {
        try body()
        return 0
    } catch {
        return LastError.record(error)
    }
}

/// Runs any other call and answers its code.
@inline(__always) func code(_ body: () throws(StoreError) -> Void) -> Int32 {
    do throws(StoreError) {
        try body()
        return 0
    } catch {
        return LastError.record(error)
    }
}

@c @implementation
public func varve_last_error() -> UnsafePointer<varve_error_t>! { LastError.current }
