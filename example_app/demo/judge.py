"""The judge: reads what customers were told, the library's own account and the shop's books, and compares them."""

from collections import Counter
from uuid import UUID

from example_app.demo.figures import History
from example_app.demo.reporting import broken_reports
from example_app.demo.restocks import RestockHistory, broken_restocks
from example_app.demo.stage import Stage
from example_app.demo.traffic import Traffic
from example_app.demo.verdict import Books, broken_promises


class Judge:
    """Knows what belongs to this demonstration, and what was there before."""

    def __init__(self, stage: Stage, traffic: Traffic) -> None:
        self.traffic, self.history = traffic, History(stage.client)
        self._restocks = RestockHistory(stage.client)

    async def begin(self) -> None:
        """From here on everything counts."""
        await self.history.begin()
        await self._restocks.begin()

    async def orders(self) -> list[str]:
        """What is not as it should be with orders, shelves and restocks."""
        figures, restocks, books = await self.history.read(), await self._restocks.read(), await Books.read()
        return [
            *broken_promises(books, self.traffic.run, self.traffic.accepted, figures.stuck),
            *broken_restocks(restocks, figures.low, books.received),
        ]

    async def report(self, run: UUID) -> list[str]:
        """What is not as it should be with the report that ``run`` was to write."""
        return list(broken_reports(await Books.read(), self.traffic.run, run))

    async def work(self) -> dict[str, int]:
        """What has become of the orders, and what else was done, for people."""
        books, restocks = await Books.read(), await self._restocks.read()
        mine = self.traffic.accepted & books.orders.keys()
        ends = Counter(str(books.orders[order_id].status) for order_id in mine)
        return {
            "  confirmed": ends["confirmed"],
            "  rejected": ends["rejected"],
            "  held up by a dead letter": ends["placed"],
            "orders shipped": sum(books.shipped[order_id] for order_id in mine),
            "  in parcels": sum(len(books.packed.get(order_id, ())) for order_id in mine),
            "restocks": len(restocks.states),
            "  started by an event": len(restocks.triggered),
            "sales in the nightly report": sum(
                sale.order_id in mine and sale.report_id is not None for sale in books.sales
            ),
        }
