internal import VMTypes

/// Memory for the pages of one fill, page-aligned and outside every mapping.
struct FillBuffer: ~Copyable {
    /// The pages filled around a fault at most.
    static let pages = 64

    let pointer: UnsafeMutableRawPointer

    init() {
        pointer = .allocate(byteCount: Self.pages << Page.shift, alignment: Page.size)
    }

    deinit { pointer.deallocate() }

    func pointer(toPage index: Int) -> UnsafeMutableRawPointer { pointer + index << Page.shift }
}
