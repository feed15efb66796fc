public import VMTypes

/// What answers for the pages of objects that live outside the store (an external memory manager, a pager).
///
/// An object is given one with `Store.makeObject(size:manager:)`. From then on its pages are asked for when they are first
/// needed, and what was stored to them is returned with each commit.
///
/// **How it is called.** For one object the calls come one at a time, in order, on a thread that no other object waits for;
/// `initialize` is the first and `terminate` the last. No lock of the store is held, so that a manager may call the store.
/// Whoever wants several requests worked on at once keeps them and answers from threads of its own. A manager may serve many
/// objects; its calls for different objects then come at the same time.
///
/// **What it must not do.** Touch or read memory that it manages: it would wait for itself until the deadline. Wait for a
/// commit or an abandoning: they wait for `dataReturn` and, where nothing fills on demand, for `dataRequest`.
///
/// **When it fails.** Each request has a deadline (`ManagerAttributes.deadline`). A manager that throws, never answers,
/// answers wrongly, hangs, or whose thread exits, harms only who touches the pages it did not give: a plain access raises
/// SIGBUS, whose reason `VMTask.lastFault` tells, and calls throw MEMORY_ERROR with that reason. Calls ask again each time.
public protocol MemoryManager: Sendable {
    /// Called once for each object, before anything else. An object whose manager throws here, or takes longer than the
    /// deadline, can't be mapped: INVALID_OBJECT.
    func initialize(_ object: MemoryObjectControl) throws

    /// Asks for the bytes of pages. The answer is one of the request's own calls (`supply`, `unavailable`, `fail`), now or
    /// later, from any thread; throwing is `fail`. A request that is let go of without an answer has failed.
    func dataRequest(_ request: DataRequest) throws

    /// Returns pages that were stored to, after the commit that took them. They are the manager's when this returns; where
    /// it throws or passes the deadline, the store keeps them for the next commit, which returns them again, newer perhaps.
    /// Pages that were only read may be among them. Closing the store gives up what was not taken.
    func dataReturn(_ pages: ReturnedPages) throws

    /// The last call for an object: nobody maps it any more, or it was ended.
    func terminate(_ object: ObjectID)
}

extension MemoryManager {
    /// Does nothing.
    public func initialize(_ object: MemoryObjectControl) throws {}

    /// Takes nothing: a commit says that what was stored to such an object is nowhere kept.
    public func dataReturn(_ pages: ReturnedPages) throws {
        throw VMError(.noAccess, "the manager takes no pages back")
    }

    /// Does nothing.
    public func terminate(_ object: ObjectID) {}
}

/// How an object is asked for; its manager or its owner may change it at any time.
public struct ManagerAttributes: Hashable, Sendable {
    /// Seconds that a request, a return or the initialization may take: 0.001 to 3600.
    public var deadline: Double
    /// Pages that one request asks for at most, around the page that is needed: a power of two, 1 to 64. Where a request for
    /// several is refused, the page that is needed is asked for alone.
    public var clusterPages: Int

    public init(deadline: Double = 10, clusterPages: Int = 16) {
        self.deadline = deadline
        self.clusterPages = clusterPages
    }

    func check() throws(VMError) {
        guard deadline >= 0.001, deadline <= 3600 else {
            throw VMError(.invalidArgument, "a deadline of \(deadline) s is outside 0.001...3600")
        }
        guard clusterPages >= 1, clusterPages <= 64, clusterPages & (clusterPages - 1) == 0 else {
            throw VMError(.invalidArgument, "\(clusterPages) pages a request are no power of two within 1...64")
        }
    }
}

/// Why a page could not be had: kept for whoever met it.
public struct MemoryFault: Error, Hashable, Sendable, CustomStringConvertible {
    public let object: ObjectID
    /// Bytes into the object: where the page begins.
    public let offset: UInt64
    /// MEMORY_ERROR: may be transient. MEMORY_FAILURE: the object was destroyed.
    public let code: KernReturn
    /// What failed, as its manager said it.
    public let reason: String

    public var description: String { "object \(object), offset \(offset): \(reason) (\(code))" }
}
