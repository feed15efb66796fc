internal import VMTypes

extension StoreError {
    /// The same error, which says what addresses it is about.
    func at(_ address: UInt64, _ pages: PageRange) -> StoreError {
        let end = address &+ UInt64(bitPattern: Int64(pages.count)) << UInt64(Page.shift)
        return StoreError(
            code, "At \(hexadecimal(address))..<\(hexadecimal(end)): \(message)", advice: advice, path: path, errno: errno)
    }
}
