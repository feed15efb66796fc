extension PersistentArray {
    /// Makes room for this many elements in all, so that appending them needs no further memory.
    ///
    /// - Throws: `.full` where the heap has no such room; the array is as it was.
    public func reserveCapacity(_ minimum: Int) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        if minimum > capacity { try moveStorage(capacity: minimum) }
    }

    /// Gives room for one more element, and more so that appending stays cheap.
    @usableFromInline @inline(never)
    func grow(to minimum: Int) throws(HeapError) {
        let capacity = capacity
        // A large array grows by half: what is not used of its block is not more than a third.
        let more = capacity &* Self.stride > 1 << 20 ? capacity / 2 : capacity
        try moveStorage(capacity: Swift.max(minimum, capacity + more, Swift.min(8, 64 / Swift.max(Self.stride, 1)), 1))
    }

    @usableFromInline
    func moveStorage(capacity: Int) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        try space.checkAttached(header)
        let (bytes, overflow) = Swift.max(capacity, 1).multipliedReportingOverflow(by: Swift.max(Self.stride, 1))
        guard !overflow, bytes <= space.byteCount else {
            throw HeapError(.full, "An array of \(capacity) elements of \(Self.stride) bytes does not fit into the heap")
        }
        let old = storage
        let new = try space.allocate(byteCount: bytes, alignment: Self.alignment)
        space.copyBytes(from: old, to: new, byteCount: count &* Self.stride)
        space.willWrite(header &+ 16, 16)
        space.writeDeclared(capacity, at: header &+ 16)
        space.writeDeclared(new, at: header &+ 24)
        if old != 0 { try space.free(old) }
    }

    @usableFromInline
    func makeRoom(forMore added: Int) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let (needed, overflow) = count.addingReportingOverflow(added)
        if overflow || needed > capacity { try grow(to: overflow ? Int.max : needed) }
    }

    @inlinable @inline(__always)
    func setCount(_ count: Int) { space.write(count, at: header &+ 8) }

    /// Adds an element at the end. O(1), amortized over many.
    ///
    /// - Throws: `.full` where the heap has no room.
    @inlinable
    public func append(_ element: Element) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let count = count
        if count == space.read(header &+ 16, as: Int.self) { try grow(to: count &+ 1) }
        let stored = try Element.store(element, in: space)
        space.write(stored, at: storage &+ count &* Self.stride)
        setCount(count &+ 1)
    }

    /// Adds elements at the end, in order. O(*m*), amortized, where *m* is how many there are.
    ///
    /// - Throws: `.full` where the heap has no room; those before stay added.
    @inlinable
    public func append(contentsOf elements: some Sequence<Element>) throws(HeapError) {
        let expected = elements.underestimatedCount
        if expected > 1 { try makeRoom(forMore: expected) }
        // An array's own iterator would see what is added to it here: this array may be the one that is read.
        if let array = elements as? Self {
            for index in 0..<array.count { try append(array[index]) }
            return
        }
        for element in elements { try append(element) }
    }

    /// Puts an element before the one at `index`, or at the end. O(*n*).
    ///
    /// - Throws: `.full` where the heap has no room.
    @inlinable
    public func insert(_ element: Element, at index: Int) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let count = count
        precondition(index >= 0 && index <= count, "Index out of range")
        if count == capacity { try grow(to: count &+ 1) }
        let stored = try Element.store(element, in: space)
        let place = storage &+ index &* Self.stride
        space.copyBytes(from: place, to: place &+ Self.stride, byteCount: (count &- index) &* Self.stride)
        space.write(stored, at: place)
        setCount(count &+ 1)
    }

    /// Takes out and releases the elements of a range; those after it move up. O(*n*).
    @inlinable
    public func removeSubrange(_ range: Range<Int>) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        try space.checkAttached(header)
        let count = count
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "Range out of bounds")
        try releaseElements(range)
        let storage = storage
        space.copyBytes(
            from: storage &+ range.upperBound &* Self.stride, to: storage &+ range.lowerBound &* Self.stride,
            byteCount: (count &- range.upperBound) &* Self.stride)
        setCount(count &- range.count)
    }

    /// Takes out and releases all elements; keeps the memory if told so. O(*n*) where elements own memory, else O(1).
    public func removeAll(keepingCapacity: Bool = false) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        try space.checkAttached(header)
        let count = count
        if count > 0 {
            try releaseElements(0..<count)
            setCount(0)
        }
        let storage = storage
        if !keepingCapacity, storage != 0 {
            space.zeroBytes(header &+ 16, 16)
            try space.free(storage)
        }
    }

    /// Takes out and releases all elements for which `body` says so. O(*n*).
    public func removeAll(where body: (Element) throws -> Bool) throws {
        space.beginChange()
        defer { space.endChange() }
        var kept = 0
        for index in 0..<count {
            let stored: Element.Stored = space.read(offset(of: index))
            if try body(Element.load(stored, in: space)) { continue }
            if kept < index { swapAt(kept, index) }
            kept += 1
        }
        try removeSubrange(kept..<count)
    }

    /// Exchanges two elements, which keep what they own.
    @inlinable
    public func swapAt(_ i: Int, _ j: Int) {
        space.beginChange()
        defer { space.endChange() }
        let first = offset(of: i)
        let second = offset(of: j)
        guard first != second else { return }
        let stored: Element.Stored = space.read(first)
        space.write(space.read(second, as: Element.Stored.self), at: first)
        space.write(stored, at: second)
    }
}

extension PersistentArray where Element: PersistentLeaf {
    /// Takes an element out; those after it move up. O(*n*).
    @inlinable @discardableResult
    public func remove(at index: Int) throws(HeapError) -> Element {
        space.beginChange()
        defer { space.endChange() }
        let element = self[index]
        try removeSubrange(index..<index &+ 1)
        return element
    }

    /// Takes the last element out. There must be one. O(1).
    @inlinable @discardableResult
    public func removeLast() throws(HeapError) -> Element {
        space.beginChange()
        defer { space.endChange() }
        precondition(count > 0, "Can't remove last element from an empty array")
        return try remove(at: count &- 1)
    }

    /// Takes the last element out, where there is one. O(1).
    @inlinable
    public func popLast() throws(HeapError) -> Element? {
        space.beginChange()
        defer { space.endChange() }
        return count == 0 ? nil : try removeLast()
    }

    /// Takes the first element out. There must be one. O(*n*).
    @inlinable @discardableResult
    public func removeFirst() throws(HeapError) -> Element {
        precondition(count > 0, "Can't remove first element from an empty array")
        return try remove(at: 0)
    }

    /// Replaces the elements of a range by others, of any number. O(*n* + *m*).
    ///
    /// - Throws: `.full` where the heap has no room; the array is as it was.
    public func replaceSubrange(_ range: Range<Int>, with elements: some Collection<Element>) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        try space.checkAttached(header)
        let count = count
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "Range out of bounds")
        let added = elements.count
        var stored: [Element.Stored] = []
        do throws(HeapError) {
            if count - range.count + added > capacity { try grow(to: count - range.count + added) }
            for element in elements { stored.append(try Element.store(element, in: space)) }
        } catch {
            for element in stored { try Element.release(element, in: space) }
            throw error
        }
        try releaseElements(range)
        let storage = storage
        if added != range.count {
            space.copyBytes(
                from: storage &+ range.upperBound &* Self.stride, to: storage &+ (range.lowerBound &+ added) &* Self.stride,
                byteCount: (count &- range.upperBound) &* Self.stride)
        }
        for (index, element) in stored.enumerated() { space.write(element, at: storage &+ (range.lowerBound &+ index) &* Self.stride) }
        setCount(count &- range.count &+ added)
    }
}

extension PersistentArray where Element: PersistentContainer {
    /// Takes out and releases an element with all that it holds; those after it move up. O(*n*).
    public func remove(at index: Int) throws(HeapError) { try removeSubrange(index..<index &+ 1) }

    /// Makes an empty collection at the end.
    ///
    /// - Throws: `.full` where the heap has no room.
    @inlinable @discardableResult
    public func appendNew() throws(HeapError) -> Element {
        space.beginChange()
        defer { space.endChange() }
        let element = try Element.create(in: space)
        do throws(HeapError) { try append(element) } catch {
            try element.release()
            throw error
        }
        return element
    }
}
