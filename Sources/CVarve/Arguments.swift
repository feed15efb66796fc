internal import Varve

/// A string that must be there.
func text(_ pointer: UnsafePointer<CChar>?, _ what: String) throws(StoreError) -> String {
    guard let pointer else { throw StoreError(.invalid, "\(what) is NULL", advice: "Give a string") }
    // A byte that is no UTF-8 must not become another name.
    guard let text = String(validatingCString: pointer) else {
        throw StoreError(.invalid, "\(what) is not UTF-8", advice: "Give names and paths in UTF-8")
    }
    return text
}

/// A string that may be absent.
func optionalText(_ pointer: UnsafePointer<CChar>?, _ what: String) throws(StoreError) -> String? {
    guard pointer != nil else { return nil }
    return try text(pointer, what)
}

/// A message for the log; NULL is none.
func message(_ pointer: UnsafePointer<CChar>?) throws(StoreError) -> String { try optionalText(pointer, "the message") ?? "" }

/// A state of the store; NULL is the last commit.
func state(_ pointer: UnsafePointer<CChar>?) throws(StoreError) -> Store.State {
    guard let text = try optionalText(pointer, "the state") else { return .head }
    return Store.parseState(text)
}

func reference(_ pointer: UnsafePointer<CChar>?) throws(StoreError) -> Store.ObjectReference {
    Store.ObjectReference(parsing: try text(pointer, "the object's name"))
}

/// A pointer that must be there: where a result goes, or a function.
func required<Pointer>(_ pointer: Pointer?, _ what: String) throws(StoreError) -> Pointer {
    guard let pointer else { throw StoreError(.invalid, "\(what) is NULL", advice: "Say where the result goes") }
    return pointer
}

