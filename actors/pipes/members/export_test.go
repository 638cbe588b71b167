package members

// ReaderLinger is how long deliveries wait for the next loop after one ended.
const ReaderLinger = readerLinger
