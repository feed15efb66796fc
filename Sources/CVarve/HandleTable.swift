internal import Glibc
internal import Synchronization

/// What C holds in place of references: values that are looked up at each call.
///
/// A handle is a slot's number and how often the slot was used, with bits that no address of the process has: a value
/// that was released, or that was no handle ever, finds nothing and touches nothing. No value comes twice. What is found
/// is retained, so that another thread may release the handle meanwhile.
final class HandleTable: Sendable {
    typealias Object = AnyObject & Sendable

    private struct Slot {
        var generation: UInt32
        var object: (any Object)?
    }

    private struct Slots {
        var all: [Slot] = []
        var free: [Int] = []
    }

    /// The one table of the process.
    static let shared = HandleTable()

    /// Handles above 2^48 are no addresses of a program.
    private static let firstGeneration: UInt32 = 1 << 16

    private let slots = Mutex(Slots())

    /// A forked child has its parent's handles and none of what they name; the lock may be held in it for ever.
    private static let isForkedChild = Atomic(false)
    static var isOfForkedChild: Bool { isForkedChild.load(ordering: .relaxed) }

    private init() {
        pthread_atfork(nil, nil) { HandleTable.isForkedChild.store(true, ordering: .relaxed) }
    }

    /// A new handle. Nothing in a forked child.
    func add(_ object: any Object) -> OpaquePointer? {
        if Self.isOfForkedChild { return nil }
        return slots.withLock { slots in
            let index: Int
            if let free = slots.free.popLast() {
                index = free
                slots.all[index].object = object
            } else {
                index = slots.all.count
                slots.all.append(Slot(generation: Self.firstGeneration, object: object))
            }
            return Self.handle(index, slots.all[index].generation)
        }
    }

    /// What a handle names; nil where it is none.
    func object(_ handle: UnsafeRawPointer?) -> (any Object)? {
        guard let handle, !Self.isOfForkedChild else { return nil }
        let (index, generation) = Self.parts(handle)
        return slots.withLock { slots in
            guard index < slots.all.count, slots.all[index].generation == generation else { return nil }
            return slots.all[index].object
        }
    }

    /// Ends a handle; false where it is none, or `mayEnd` says no to what it names.
    func remove(_ handle: UnsafeRawPointer, where mayEnd: (any Object) -> Bool) -> Bool {
        if Self.isOfForkedChild { return false }
        let (index, generation) = Self.parts(handle)
        // The last reference is let go of outside the lock: that may unmap memory.
        let ended: (any Object)? = slots.withLock { slots in
            guard index < slots.all.count, slots.all[index].generation == generation,
                let object = slots.all[index].object, mayEnd(object)
            else { return nil }
            slots.all[index].object = nil
            // A slot whose numbers are used up stays empty.
            if generation < .max {
                slots.all[index].generation = generation + 1
                slots.free.append(index)
            }
            return object
        }
        return ended != nil
    }

    /// Whether a value was a handle once, and is none any more.
    func hasEnded(_ handle: UnsafeRawPointer) -> Bool {
        if Self.isOfForkedChild { return false }
        let (index, generation) = Self.parts(handle)
        return slots.withLock { slots in
            guard index < slots.all.count, generation >= Self.firstGeneration else { return false }
            let slot = slots.all[index]
            return generation < slot.generation || generation == slot.generation && slot.generation == .max && slot.object == nil
        }
    }

    /// The lowest bit keeps a handle from being an aligned address.
    private static func handle(_ index: Int, _ generation: UInt32) -> OpaquePointer? {
        OpaquePointer(bitPattern: UInt(generation) << 32 | UInt(UInt32(index)) << 1 | 1)
    }

    private static func parts(_ handle: UnsafeRawPointer) -> (index: Int, generation: UInt32) {
        let bits = UInt(bitPattern: handle)
        // An even value is no handle: it gets a number that no slot has.
        return (bits & 1 == 1 ? Int(UInt32(truncatingIfNeeded: bits) >> 1) : Int.max, UInt32(bits >> 32))
    }
}
