internal import CHostMemory
internal import Glibc
public import VMTypes

/// What the next forked child gets of the process's mapped memory, and what it closes.
///
/// All that costs time or can fail is done before the fork, in the parent; the child makes system calls only. Memory that
/// can't be prepared is absent in the child: an access there raises SIGSEGV. One thread uses a plan.
public final class ForkPlan {
    private var steps: [hm_fork_step] = []
    private var armed: UnsafeMutableBufferPointer<hm_fork_step>?
    private var undoing: [() -> Void] = []
    private var lifeMade: ForkedLife??

    init() {}

    deinit { armed?.deallocate() }

    /// Tells whether the child, or one of its own, still lives; nil where the host can't tell. One for the whole plan.
    public var life: ForkedLife? {
        if let lifeMade { return lifeMade }
        let made = try? ForkedLife(self)
        lifeMade = made
        return made
    }

    /// The child closes a descriptor before anything else runs in it.
    public func close(_ descriptor: Int32) {
        guard descriptor >= 0 else { return }
        var closing = step(HM_FORK_CLOSE, 0, 0, 0)
        closing.descriptor = descriptor
        steps.append(closing)
    }

    /// Hands a descriptor over: its locks and leases hold as long as the child, or one of its own, has the memory that it
    /// got, whatever descriptors it closes. The parent's copy is closed when the fork is over.
    ///
    /// - Throws: `.full` at a limit of the host; the descriptor is closed then.
    public func entrust(_ descriptor: Int32) throws(StoreError) {
        let anchor: UInt64
        do throws(StoreError) {
            anchor = try SystemCall.map(0, Page.size, protection: PROT_NONE, flags: MAP_SHARED, file: descriptor)
        } catch {
            Glibc.close(descriptor)
            throw error
        }
        close(descriptor)
        undoing.append {
            try? SystemCall.unmap(anchor, Page.size)
            Glibc.close(descriptor)
        }
    }

    /// The child has its parent's mapping of a range, private or shared as it is.
    func inherit(_ address: UInt64, _ byteCount: Int) throws(StoreError) {
        try SystemCall.advise(address, byteCount, Int32(MADV_DOFORK))
        undoing.append { try? SystemCall.advise(address, byteCount, Int32(MADV_DONTFORK)) }
    }

    /// The child has `protection` where tracking has another in its parent.
    func protect(_ address: UInt64, _ byteCount: Int, _ protection: Int32) {
        steps.append(step(HM_FORK_PROTECT, address, byteCount, protection))
    }

    /// The child has a private copy at `address`, of what `fill` puts into fresh zeros.
    func copy(
        to address: UInt64, _ byteCount: Int, _ protection: Int32,
        _ fill: (UnsafeMutableRawPointer) throws(StoreError) -> Void
    ) throws(StoreError) {
        let source = try SystemCall.map(
            0, byteCount, protection: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
        undoing.append { try? SystemCall.unmap(source, byteCount) }
        try fill(SystemCall.pointer(source)!)
        var move = step(HM_FORK_MOVE, address, byteCount, protection)
        move.source = source
        steps.append(move)
    }

    /// Makes the plan that of the next child.
    func arm() {
        let buffer = UnsafeMutableBufferPointer<hm_fork_step>.allocate(capacity: max(1, steps.count))
        _ = buffer.initialize(from: steps)
        armed = buffer
        hm_fork_steps(buffer.baseAddress, steps.count)
    }

    /// Makes the parent's memory what it was.
    func undo() {
        hm_fork_steps(nil, 0)
        for undo in undoing.reversed() { undo() }
        undoing = []
    }

    private func step(_ kind: hm_fork_kind, _ address: UInt64, _ byteCount: Int, _ protection: Int32) -> hm_fork_step {
        hm_fork_step(
            kind: Int32(bitPattern: kind.rawValue), protection: protection, descriptor: -1, address: address, source: 0,
            length: UInt64(byteCount))
    }
}

/// Whether a forked child, or one of its own, still has the memory that it got.
///
/// A lock of a file that the child maps: the kernel drops it with the last such mapping, when no more stores can come.
public final class ForkedLife: Sendable {
    private let descriptor: Int32

    init(_ plan: ForkPlan) throws(StoreError) {
        let file = try SystemCall.makeMemoryFile(pages: 1)
        let own = open("/proc/self/fd/\(file)", O_RDWR | O_CLOEXEC)
        guard own >= 0, flock(file, LOCK_SH | LOCK_NB) == 0 else {
            let code = errno
            Glibc.close(file)
            if own >= 0 { Glibc.close(own) }
            throw SystemCall.error("flock", errno: code)
        }
        descriptor = own
        plan.close(own)
        try plan.entrust(file)
    }

    deinit { if !ForkedChild.isCurrent { Glibc.close(descriptor) } }

    /// Where this is false, all that was stored there was stored before the call.
    public var lasts: Bool {
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { return true }
        flock(descriptor, LOCK_UN)
        return false
    }
}
