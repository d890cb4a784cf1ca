'use strict';
// A run that is being trained: its page hears of new points by server-sent events.

class LiveUpdates {
}
